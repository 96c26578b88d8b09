"""What is combined with what: a table in which every allowed pair occurs, and the refused pairs."""

from __future__ import annotations

AXES: dict[str, tuple[str, ...]] = {
    "mutator": (
        "darts", "gdas", "snas", "drnas", "fair_darts", "fbnet", "reinmax", "data", "xnas",
        "didarts", "pc_darts", "proxyless",
    ),
    "perturbation": ("none", "random", "adversarial", "dropout"),
    # One in so many channels; with or without logits of edges.
    "partial": ("1", "2", "2+betas"),
    "regularizer": ("none", "weight", "target", "auxiliary"),
    "trainer": ("bilevel", "unrolled", "exact", "single_level"),
    "execution": ("auto", "eager"),
}  # fmt: skip

HARD = "candidates run with a coefficient of 1, and normalised it would be 1 again"
PATHS = "steps of the weights run single paths without coefficients"
WATCHED = "candidates that were not drawn run as constants: their part would be missing"
ONE_PASS = "one pass cannot have a mix for the weights and another for the logits"

#: Two values that make no sense together → why, and what the refusal says.
REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    ("gdas", "random"): (HARD, "cannot be combined"),
    ("gdas", "adversarial"): (HARD, "cannot be combined"),
    ("reinmax", "random"): (HARD, "cannot be combined"),
    ("reinmax", "adversarial"): (HARD, "cannot be combined"),
    ("data", "random"): (HARD, "cannot be combined"),
    ("data", "adversarial"): (HARD, "cannot be combined"),
    ("proxyless", "random"): (PATHS, "cannot be combined"),
    ("proxyless", "adversarial"): (PATHS, "cannot be combined"),
    ("proxyless", "dropout"): (PATHS, "cannot be combined"),
    ("proxyless", "2+betas"): (PATHS, "edge normalisation cannot be combined"),
    ("xnas", "2+betas"): (
        "it has experts of candidates, none of edges",
        "edge normalisation cannot be combined",
    ),
    ("pc_darts", "1"): (
        "partial channels are what it searches; darts with betas is the rest of it",
        "blocks have partial=",
    ),
    ("proxyless", "unrolled"): (PATHS, "has no second order"),
    ("proxyless", "exact"): (PATHS, "has no second order"),
    ("reinmax", "exact"): (WATCHED, "part of an exact product would be missing"),
    ("single_level", "random"): (ONE_PASS, "both gradients in one pass"),
    ("single_level", "adversarial"): (ONE_PASS, "both gradients in one pass"),
    ("single_level", "dropout"): (ONE_PASS, "both gradients in one pass"),
}

#: One search per line, in the order of the axes; every pair that is not refused occurs.
TABLE = """
    darts       none        1           auxiliary   unrolled    eager
    darts       none        1           auxiliary   single_level auto
    darts       random      2           none        bilevel     auto
    darts       adversarial 2+betas     weight      exact       eager
    darts       dropout     2           target      exact       eager
    gdas        none        1           auxiliary   bilevel     auto
    gdas        none        2           target      single_level auto
    gdas        none        2+betas     weight      unrolled    auto
    gdas        dropout     1           none        exact       eager
    snas        none        2           weight      single_level auto
    snas        none        2           auxiliary   exact       auto
    snas        random      2+betas     none        bilevel     eager
    snas        adversarial 2+betas     target      unrolled    eager
    snas        dropout     1           none        bilevel     eager
    drnas       none        2           weight      single_level eager
    drnas       random      2+betas     auxiliary   unrolled    auto
    drnas       adversarial 1           none        exact       eager
    drnas       dropout     2+betas     target      bilevel     auto
    fair_darts  none        2           auxiliary   single_level auto
    fair_darts  random      2+betas     weight      exact       eager
    fair_darts  adversarial 1           none        unrolled    auto
    fair_darts  dropout     2           target      bilevel     auto
    fbnet       none        1           target      single_level auto
    fbnet       none        2+betas     none        exact       auto
    fbnet       random      1           auxiliary   exact       auto
    fbnet       adversarial 1           auxiliary   bilevel     auto
    fbnet       dropout     2           weight      unrolled    eager
    reinmax     none        2+betas     none        single_level eager
    reinmax     dropout     1           target      bilevel     eager
    reinmax     dropout     2           auxiliary   unrolled    auto
    reinmax     dropout     2+betas     weight      unrolled    auto
    data        none        1           auxiliary   single_level eager
    data        dropout     2           none        unrolled    auto
    data        dropout     2+betas     weight      exact       eager
    data        dropout     2+betas     target      bilevel     auto
    xnas        none        1           weight      bilevel     auto
    xnas        none        2           auxiliary   single_level auto
    xnas        random      1           auxiliary   exact       eager
    xnas        adversarial 2           target      unrolled    eager
    xnas        dropout     2           none        exact       eager
    didarts     none        2           weight      bilevel     auto
    didarts     none        2+betas     none        single_level eager
    didarts     random      1           target      exact       eager
    didarts     adversarial 2+betas     none        unrolled    auto
    didarts     dropout     2+betas     auxiliary   unrolled    eager
    pc_darts    none        2+betas     weight      unrolled    eager
    pc_darts    none        2+betas     weight      single_level auto
    pc_darts    random      2           none        exact       auto
    pc_darts    adversarial 2+betas     auxiliary   bilevel     eager
    pc_darts    dropout     2           target      exact       auto
    proxyless   none        1           auxiliary   bilevel     eager
    proxyless   none        2           none        single_level eager
    proxyless   none        2           weight      bilevel     eager
    proxyless   none        2           target      single_level auto
"""

ROWS = [dict(zip(AXES, line.split(), strict=True)) for line in TABLE.strip().splitlines()]
