"""How many evaluations sampled Shapley values need: errors of both libraries at the same number, on games of all kinds.

A game is the score of a model by which features are present; where there are few of them it is tabulated first, so that
seeds cost next to nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .meter import distance
from .models import efficientnet
from .works.shapley import mlp
from .works.small import rows

Score = Callable[[Tensor], Tensor]  # rows (k, n) of ones (present) and zeros (absent) -> (k,)
CASES = {
    "words": "12 words of a sentence, MiniLM sentiment",
    "photo": "12 squares of a photo (112 x 112), EfficientNet-Lite0",
    "mlp": "20 features, small MLP of random weights",
    "wide": "30 columns of breast-cancer, MLP of 256",
    "trees": "30 columns of breast-cancer, boosted trees",
    "linear": "30 features, linear model",
}
EVALUATIONS, SEEDS, LONG = 500, 41, 200_000
PROMISED = {"kernel_shap": 5.0, "shapley_sampling": 2.0}

COLUMNS = (
    "game", "KernelSHAP: error of Captum's", "ours", "fewer evaluations", "promised",
    "sampled orders: error of Captum's", "ours", "fewer evaluations", "promised",
)  # fmt: skip
TITLE = f"""
## Error at equal evaluations

Relative L2 distance from the Shapley values, at {EVALUATIONS} evaluations, the median over {SEEDS} seeds. The values
are exact up to 20 features, beyond them those of {LONG:,} evaluations. Captum's error falls as the root of its
evaluations, so the square of the ratio is how many times fewer ours needs for the same error.
"""


def table(n: int, score: Score) -> Score:
    """The same game looked up."""
    every = ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).float()
    with torch.no_grad():
        found = torch.cat([score(some) for some in every.split(32)]).double()
    return lambda x: found[(x.round().long() << torch.arange(n)).sum(-1)]


def words() -> tuple[int, Score]:
    from enodo.io import load_subject

    subject = load_subject("minilm-sentiment")
    example = subject.read("The plot is thin but the wonderful cast makes this slow film moving.", None)
    ids, mask = example.inputs, example.kwargs["attention_mask"]
    tokens = example.sample.tokens or ()
    at = [i for i, token in enumerate(tokens) if token.isalpha()][:12]

    def score(z: Tensor) -> Tensor:
        seen = mask.repeat(len(z), 1)
        seen[:, at] = z.to(seen.dtype)
        logits: Tensor = subject.model(ids.expand(len(z), -1), seen)
        return logits[:, 1] - logits[:, 0]

    return len(at), table(len(at), score)


def photo() -> tuple[int, Score]:
    case = efficientnet()
    x = nn.functional.interpolate(case.inputs, size=112, mode="bilinear", antialias=True)
    down, across = torch.arange(112) * 3 // 112, torch.arange(112) // 28
    owner, grey = down[:, None] * 4 + across, x.mean((2, 3), keepdim=True)

    def score(z: Tensor) -> Tensor:
        return case.model(torch.where(z.bool()[:, owner][:, None], x, grey))[:, 285]  # an Egyptian cat

    return 12, table(12, score)


def small() -> tuple[int, Score]:
    model, x = mlp(), rows(1, 20)
    return 20, lambda z: model(z.float() * x)[:, 1].double()


def cancer() -> tuple[Tensor, Tensor]:
    """Measurements, centred and scaled, and whether a tumour is benign."""
    from sklearn.datasets import load_breast_cancer

    x, y = (torch.as_tensor(t) for t in load_breast_cancer(return_X_y=True))
    return (x - x.mean(0)) / x.std(0), y.double()


def wide() -> tuple[int, Score]:
    x, y = cancer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(30, 256), nn.Tanh(), nn.Linear(256, 1), nn.Flatten(0)).double()
    descent = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=1e-4)
    for _ in range(200):
        descent.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(x), y).backward()
        descent.step()
    return 30, lambda z: model(z * x[3])


def trees() -> tuple[int, Score]:
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = cancer()
    model = GradientBoostingClassifier(random_state=0).fit(x.numpy(), y.numpy())
    return 30, lambda z: torch.as_tensor(model.decision_function((z * x[3]).numpy()))


def linear() -> tuple[int, Score]:
    weights = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    return 30, lambda z: z.double() @ weights


GAMES = {"words": words, "photo": photo, "mlp": small, "wide": wide, "trees": trees, "linear": linear}


def measure(name: str) -> dict[str, float]:
    """The errors on one game, by side and method."""
    import captum.attr

    import enodo

    n, score = GAMES[name]()
    everyone = torch.ones(1, n, dtype=torch.float64)
    exact = {"max_evaluations": 2**n} if n <= 20 else {"max_evaluations": LONG}
    truth = enodo.explain(score, everyone, "exact_shapley" if n <= 20 else "kernel_shap", **exact).tensor
    theirs: dict[str, Callable[[], Any]] = {
        "kernel_shap": lambda: captum.attr.KernelShap(score).attribute(everyone, n_samples=EVALUATIONS),
        "shapley_sampling": lambda: captum.attr.ShapleyValueSampling(score).attribute(
            everyone, n_samples=EVALUATIONS // n, perturbations_per_eval=n
        ),
    }
    found = {}
    for method, call in theirs.items():
        ours = enodo.explain(score, everyone.expand(SEEDS, n), method, max_evaluations=EVALUATIONS).tensor
        found[f"{method} ours"] = statistics.median(distance(one[None], truth) for one in ours)
        errors = []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            errors.append(distance(call(), truth))
        found[f"{method} captum"] = statistics.median(errors)
    return found


def line(name: str, found: dict[str, float] | None) -> str:
    """One row of the table."""
    if not found:
        return "| " + " | ".join([CASES[name], "**failed**", *[""] * (len(COLUMNS) - 2)]) + " |"
    cells = [CASES[name]]
    for method, promised in PROMISED.items():
        theirs, ours = found[f"{method} captum"], found[f"{method} ours"]
        fewer = (theirs / max(ours, 1e-300)) ** 2
        said = "exact" if ours < 1e-9 else f"{fewer:.3g}" if fewer >= promised else f"**{fewer:.3g}**"
        cells += [f"{theirs:.1e}", f"{ours:.1e}", said, f">= {promised:g}"]
    return "| " + " | ".join(cells) + " |"
