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
            "gdas", "snas", "drnas", "fbnet", "reinmax", "data", "didarts", "proxyless",
        )
        for order in ("unrolled", "exact")
    },
}  # fmt: skip

#: One search per line, in the order of the axes; every pair that is not refused occurs.
TABLE = """
    darts       none        1           none        single_level eager
    darts       none        1           weight      exact       eager
    darts       random      2+betas     auxiliary   bilevel     eager
    darts       adversarial 2+betas     none        unrolled    auto
    darts       dropout     2           target      unrolled    auto
    gdas        none        1           target      single_level eager
    gdas        none        2           none        bilevel     eager
    gdas        none        2+betas     weight      single_level eager
    gdas        dropout     1           auxiliary   bilevel     auto
    snas        none        2+betas     none        single_level eager
    snas        random      1           auxiliary   bilevel     auto
    snas        adversarial 2           weight      bilevel     eager
    snas        dropout     1           target      bilevel     eager
    drnas       none        2+betas     none        single_level eager
    drnas       random      1           auxiliary   bilevel     auto
    drnas       adversarial 1           target      bilevel     auto
    drnas       dropout     2           weight      bilevel     auto
    fair_darts  none        1           none        unrolled    auto
    fair_darts  none        2           target      single_level eager
    fair_darts  random      2+betas     target      exact       auto
    fair_darts  adversarial 2           auxiliary   exact       eager
    fair_darts  dropout     2           weight      bilevel     eager
    fbnet       none        1           auxiliary   single_level auto
    fbnet       random      2           none        bilevel     eager
    fbnet       adversarial 2+betas     weight      bilevel     eager
    fbnet       dropout     2+betas     target      bilevel     eager
    reinmax     none        2           weight      single_level auto
    reinmax     none        2+betas     none        bilevel     auto
    reinmax     dropout     1           target      bilevel     eager
    reinmax     dropout     2           auxiliary   bilevel     auto
    data        none        1           weight      bilevel     auto
    data        none        1           auxiliary   single_level eager
    data        none        2           none        bilevel     eager
    data        dropout     2+betas     target      bilevel     auto
    xnas        none        2           target      single_level auto
    xnas        random      2           none        exact       auto
    xnas        adversarial 1           weight      bilevel     auto
    xnas        dropout     1           none        unrolled    eager
    xnas        dropout     1           auxiliary   unrolled    auto
    didarts     none        2           auxiliary   single_level auto
    didarts     random      2+betas     weight      bilevel     auto
    didarts     adversarial 1           target      bilevel     eager
    didarts     dropout     2+betas     none        bilevel     auto
    pc_darts    none        2           none        single_level auto
    pc_darts    random      2           weight      unrolled    eager
    pc_darts    adversarial 2           target      bilevel     eager
    pc_darts    dropout     2+betas     auxiliary   exact       auto
    proxyless   none        1           weight      single_level eager
    proxyless   none        1           target      bilevel     auto
    proxyless   none        1           auxiliary   bilevel     auto
    proxyless   none        2           none        single_level eager
"""

ROWS = [dict(zip(AXES, line.split(), strict=True)) for line in TABLE.strip().splitlines()]
