"""How far integrated gradients are from the integral: gradient rows against error, on smooth networks from zero."""

from __future__ import annotations

import torch

from .meter import distance
from .models import MODELS
from .work import CHUNK, bare_path, frozen, gauss

CASES = {"minilm": "MiniLM, 64 tokens", "vit_like": "ViT-like (6 layers of 384)"}
NODES = 1000  # of the reference, Gauss in float64
ROWS, PROMISED = 15, 0.01
TOL = 0.01

COLUMNS = (
    "model", "error of Captum's default (50 rows)", f"ours, {ROWS} rows", "promised", "the same rows, plain Gauss",
    f"tol={TOL:g}: rows", "change reported", "error",
)  # fmt: skip
TITLE = f"""
## Error

Relative L2 distance of an attribution from the integral, taken as a sum over {NODES:,} Gauss nodes in float64; zero
baseline. Ours with quadrature="fejer", saturation=2. With tol= the rows are those of the levels that were needed.
"""


def measure(name: str) -> dict[str, float]:
    """The errors of one case, by column."""
    from captum.attr import IntegratedGradients

    import enodo

    case = MODELS[name]()
    model, x, target = case.model, case.inputs, case.target
    theirs = IntegratedGradients(model).attribute(x, target=target)
    placed = enodo.explain(model, x, target=target, steps=ROWS, quadrature="fejer", saturation=2.0)
    plain = enodo.explain(model, x, target=target, steps=ROWS)
    settled = enodo.explain(model, x, target=target, tol=TOL, saturation=2.0)
    double, (alphas, weights) = frozen(model).double(), gauss(NODES, torch.float64)
    exact = bare_path(lambda z: double(z)[:, target], x.double(), alphas, weights, CHUNK)
    return {
        "captum": distance(theirs, exact),
        "ours": distance(placed.values, exact),
        "plain": distance(plain.values, exact),
        "rows": settled.rows,
        "change": float(settled.error.max()),
        "settled": distance(settled.values, exact),
    }


def line(name: str, found: dict[str, float] | None) -> str:
    """One row of the table."""
    if not found:
        return "| " + " | ".join([CASES[name], "**failed**", *[""] * (len(COLUMNS) - 2)]) + " |"
    ours = f"{found['ours']:.1e}" if found["ours"] <= PROMISED else f"**{found['ours']:.1e}**"
    cells = [CASES[name], f"{found['captum']:.1e}", ours, f"<= {PROMISED:g}", f"{found['plain']:.1e}"]
    cells += [f"{found['rows']:.0f}", f"{found['change']:.1e}", f"{found['settled']:.1e}"]
    return "| " + " | ".join(cells) + " |"
