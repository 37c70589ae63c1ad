"""Train the two small networks on tables, `breast-cancer` and `wage`, and write them with their held-out scores.

Both are fitted by LBFGS on the whole training part in float64 from a fixed seed; it takes a few seconds.

    python scripts/train_table_models.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from enodo.io.tables import Row, Table, breast_cancer_rows, wage_levels, wage_rows
from enodo.io.weights import FOLDER

SEED, HELD_OUT = 0, 0.2


def split(count: int) -> tuple[Tensor, Tensor]:
    """(training rows, held-out rows) of a fixed shuffle."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SEED))
    return order[int(HELD_OUT * count) :], order[: int(HELD_OUT * count)]


def fit(
    x: Tensor, y: Tensor, hidden: int, outputs: int, decay: float, loss_fn: Callable[[Tensor, Tensor], Tensor]
) -> nn.Module:
    torch.manual_seed(SEED)
    model = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, outputs)).double()
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=1000, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        penalty = sum(p.square().sum() for name, p in model.named_parameters() if "weight" in name)
        loss = loss_fn(model(x), y) + decay * penalty
        loss.backward()
        return loss

    optimiser.step(closure)
    return model


def columns(rows: Sequence[Row], levels: dict[str, list[str] | None], train: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(standardised columns of all rows, mean, std of the training rows)."""
    plain = Table(levels, torch.zeros(1), torch.ones(1))
    raw = torch.tensor([plain.raw(row) for row in rows], dtype=torch.float64)
    mean, std = raw[train].mean(0), raw[train].std(0).clamp(min=1e-12)
    return (raw - mean) / std, mean, std


def write(name: str, model: nn.Module, facts: dict[str, object], **extra: Tensor) -> None:
    facts |= {"seed": SEED, "script": "scripts/train_table_models.py"}
    tensors = {key: value.detach().float().contiguous() for key, value in model.state_dict().items()} | extra
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"facts": json.dumps(facts)})
    print(name, json.dumps(facts))


def breast_cancer() -> None:
    rows, names = breast_cancer_rows()
    classes = sorted({row["diagnosis"] for row in rows}, reverse=True)  # malignant, benign: as in scikit-learn
    y = torch.tensor([classes.index(row["diagnosis"]) for row in rows])
    train, held = split(len(rows))
    x, mean, std = columns(rows, dict.fromkeys(names), train)
    model = fit(x[train], y[train], 16, 2, 1e-2, nn.functional.cross_entropy)
    right = (model(x[held]).argmax(1) == y[held]).double().mean().item()
    share = (y[held] == 1).double().mean().item()
    facts = {
        "classes": classes,
        "accuracy": round(right, 4),
        "majority": round(max(share, 1 - share), 4),
        "held_out": len(held),
        "trained_on": len(train),
        "source": "scikit-learn, load_breast_cancer",
    }
    averages = {f"average {c}": x[train][y[train] == i].mean(0) for i, c in enumerate(classes)}
    write("breast_cancer", model, facts, mean=mean, std=std, **averages)


def wage() -> None:
    rows = wage_rows()
    y = torch.tensor([[float(row["wage"])] for row in rows], dtype=torch.float64)
    train, held = split(len(rows))
    x, mean, std = columns(rows, wage_levels(rows), train)
    centre, scale = y[train].mean(), y[train].std()
    model = fit(x[train], (y[train] - centre) / scale, 16, 1, 1e-2, nn.functional.mse_loss)
    with torch.no_grad():  # the last layer answers in thousands of dollars
        model[2].weight.mul_(scale)
        model[2].bias.mul_(scale).add_(centre)
        error = model(x[held]) - y[held]
    square = error.square().mean()
    facts = {
        "r2": round(1 - (square / y[held].var(correction=0)).item(), 4),
        "rmse": round(square.sqrt().item(), 2),
        "held_out": len(held),
        "trained_on": len(train),
        "source": "ISLP 0.6.0, Wage",
    }
    write("wage", model, facts, mean=mean, std=std)


if __name__ == "__main__":
    breast_cancer()
    wage()
