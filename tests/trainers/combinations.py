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
DRAWS = "every pass of a step has other mixes, and the second order is of one"
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
    ("single_level", "random"): (ONE_PASS, "both gradients in one pass"),
    ("single_level", "adversarial"): (ONE_PASS, "both gradients in one pass"),
    ("single_level", "dropout"): (ONE_PASS, "both gradients in one pass"),
    **{
        (mutator, order): (DRAWS, "the same mixes in all passes of a step")
        for mutator in (
            "gdas", "snas", "drnas", "fbnet", "reinmax", "data", "xnas", "didarts", "proxyless",
        )
        for order in ("unrolled", "exact")
    },
}  # fmt: skip

#: One search per line, in the order of the axes; every pair that is not refused occurs.
TABLE = """
    darts       none        2           none        single_level eager
    darts       none        2+betas     target      unrolled    eager
    darts       random      2           auxiliary   unrolled    eager
    darts       adversarial 2+betas     weight      bilevel     eager
    darts       dropout     1           none        unrolled    auto
    darts       dropout     1           weight      exact       auto
    gdas        none        1           none        single_level auto
    gdas        none        1           weight      single_level eager
    gdas        none        2           auxiliary   bilevel     auto
    gdas        dropout     2+betas     target      bilevel     auto
    snas        none        2           target      single_level auto
    snas        random      1           weight      bilevel     eager
    snas        adversarial 2+betas     none        bilevel     eager
    snas        dropout     1           auxiliary   bilevel     auto
    drnas       none        1           weight      single_level eager
    drnas       random      2+betas     auxiliary   bilevel     eager
    drnas       adversarial 2+betas     target      bilevel     eager
    drnas       dropout     2           none        bilevel     auto
    fair_darts  none        2           auxiliary   exact       auto
    fair_darts  none        2           auxiliary   single_level eager
    fair_darts  random      2           none        bilevel     auto
    fair_darts  adversarial 2+betas     weight      unrolled    auto
    fair_darts  dropout     1           target      exact       eager
    fbnet       none        1           none        single_level auto
    fbnet       none        2+betas     weight      bilevel     eager
    fbnet       random      2           target      bilevel     auto
    fbnet       adversarial 2           none        bilevel     eager
    fbnet       dropout     1           auxiliary   bilevel     eager
    reinmax     none        1           none        single_level eager
    reinmax     none        2+betas     weight      single_level auto
    reinmax     none        2+betas     target      bilevel     auto
    reinmax     dropout     2           auxiliary   bilevel     auto
    data        none        1           none        bilevel     eager
    data        none        2+betas     target      single_level auto
    data        none        2+betas     auxiliary   single_level auto
    data        dropout     2           weight      bilevel     eager
    xnas        none        2           weight      single_level eager
    xnas        random      1           none        bilevel     auto
    xnas        adversarial 1           auxiliary   bilevel     auto
    xnas        dropout     1           target      bilevel     eager
    didarts     none        2+betas     auxiliary   single_level eager
    didarts     random      1           weight      bilevel     auto
    didarts     adversarial 2           target      bilevel     eager
    didarts     dropout     2           none        bilevel     eager
    pc_darts    none        2           target      unrolled    eager
    pc_darts    none        2           target      single_level auto
    pc_darts    random      2+betas     none        exact       auto
    pc_darts    adversarial 2           weight      exact       eager
    pc_darts    dropout     2+betas     auxiliary   bilevel     eager
    proxyless   none        1           weight      bilevel     auto
    proxyless   none        1           auxiliary   bilevel     auto
    proxyless   none        2           none        single_level auto
    proxyless   none        2           target      single_level eager
"""

ROWS = [dict(zip(AXES, line.split(), strict=True)) for line in TABLE.strip().splitlines()]
