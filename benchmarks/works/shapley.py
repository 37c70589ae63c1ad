"""Shapley values and surrogates: the same number of evaluations of small models, so that what a library adds shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.work import Call, Work
from benchmarks.works.small import rows, seeded

FEATURES = 20


def mlp(features: int = FEATURES) -> nn.Module:
    """Its scores are large enough for a lasso to choose from."""
    model = seeded(lambda: nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 2)))
    with torch.no_grad():
        model.get_parameter("2.weight").mul_(10)
    return model


def patches() -> nn.Module:
    """A small network of patches on 3 x 64 x 64."""

    def build() -> nn.Module:
        stem = [nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 4, 4), nn.ReLU(), nn.Flatten()]
        return nn.Sequential(*stem, nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10))

    return seeded(build)


def segments() -> Tensor:
    """16 squares, (1, 3, 64, 64)."""
    side = torch.arange(64) // 16
    return (side[:, None] * 4 + side).expand(1, 3, 64, 64).contiguous()


def compared(
    name: str,
    about: str,
    build: Callable[[], nn.Module],
    x: Tensor,
    methods: tuple[str, str],
    options: tuple[dict[str, Any], dict[str, Any]],
    faster: float,
    **promised: Any,
) -> Work:
    """Ours, and Captum with `packed` perturbations a pass (1 by default)."""

    def ours() -> Call:
        import enodo.captum.attr

        model = build()
        if methods[0] == methods[1]:
            return asked(enodo.captum.attr, model, options[0])
        return lambda: enodo.explain(model, x, methods[0], target=1, **options[0]).values

    def asked(attr: Any, model: nn.Module, given: dict[str, Any]) -> Call:
        explainer = getattr(attr, methods[1])(model)
        return lambda: explainer.attribute(x, target=1, **given)

    def captum() -> Call:
        import captum.attr

        return asked(captum.attr, build(), options[1])

    return Work(name, about, {"enodo": ours, "captum": captum}, faster, threads=1, **promised)


def both(
    name: str, about: str, *work: Any, packed: int, faster: float, best: float | None, **promised: Any
) -> list[Work]:
    """Against Captum's default, and against its best setting of perturbations_per_eval."""
    *asked, methods, (mine, theirs) = work
    found = [compared(name, about, *asked, methods, (mine, theirs), faster, **promised)]
    if best is not None:
        wide = theirs | {"perturbations_per_eval": packed}
        about = f"{about}; Captum with {packed} perturbations a pass"
        found.append(compared(f"{name}_packed", about, *asked, methods, (mine, wide), best, **promised))
    return found


def sampling(n: int) -> list[Work]:
    question = (mlp, rows(n, FEATURES), ("shapley_sampling", "ShapleyValueSampling"))
    options = ({"permutations": 25}, {"n_samples": 25})
    promised = {"faster": 30.0, "best": 10.0} if n == 1 else {"faster": 4.0, "best": 2.0}
    about = f"Shapley values, 25 orders of {FEATURES} features, small MLP, {n} row{'s' * (n > 1)}"
    return both(f"shapley_sampling_{n}", about, *question, options, packed=FEATURES, agree=None, **promised)


def kernel(n: int) -> list[Work]:
    question = (mlp, rows(n, FEATURES), ("kernel_shap", "KernelShap"))
    options = ({"max_evaluations": 500}, {"n_samples": 500})
    promised = {"faster": 50.0, "best": 30.0} if n == 1 else {"faster": 100.0, "best": None}
    about = f"KernelSHAP, 500 evaluations, {FEATURES} features, small MLP, {n} row{'s' * (n > 1)}"
    rounds = {"rounds": 3} if n > 1 else {}
    return both(f"kernel_shap_{n}", about, *question, options, packed=500, agree=None, **promised, **rounds)


def exact(n: int) -> list[Work]:
    question = (lambda: mlp(n), rows(1, n), ("exact_shapley", "ShapleyValues"))
    promised = {"faster": 300.0, "best": 100.0} if n == 6 else {"faster": 2000.0, "best": None}
    about = f"Shapley values, exact, {n} features, small MLP"
    return both(f"exact_shapley_{n}", about, *question, ({}, {}), packed=n, rounds=3, **promised)


def surrogate(samples: int) -> list[Work]:
    """Under Captum's names, so that neighbours count alike."""
    question = (mlp, rows(1, FEATURES), ("Lime", "Lime"))
    options = ({"n_samples": samples}, {"n_samples": samples})
    promised = {"faster": 5.0 if samples == 50 else 15.0, "best": 4.0}
    about = f"LIME, {samples} samples, {FEATURES} features, small MLP"
    return both(f"lime_{samples}", about, *question, options, packed=samples, agree=None, **promised)


def image() -> list[Work]:
    question = (patches, rows(1, 3, 64, 64), ("shapley_sampling", "ShapleyValueSampling"))
    options = ({"permutations": 25, "features": segments()}, {"n_samples": 25, "feature_mask": segments()})
    about = "Shapley values, 25 orders of 16 segments, 3 x 64 x 64"
    return both("shapley_image", about, *question, options, packed=16, faster=4.0, best=4.0, agree=None, rounds=3)


WORKS = [
    *sampling(1),
    *sampling(64),
    *image(),
    *exact(6),
    *exact(7),
    *kernel(1),
    *kernel(64),
    *surrogate(50),
    *surrogate(500),
]
