"""Gradient descent for small models: until the loss stays, or the rounds are over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor, Tensor | None]


class Settled:
    """Whether the mean of the latest losses has stopped falling: no gain above `threshold` for `patience` steps."""

    def __init__(self, patience: int, threshold: float, window: int) -> None:
        self.patience, self.threshold = patience, threshold
        self.latest: deque[Tensor] = deque(maxlen=window + 1)
        self.lowest: Tensor | None = None
        self.idle = 0

    @property
    def mean(self) -> Tensor:
        """The mean of the latest losses."""
        return torch.stack(list(self.latest)).mean()

    def after(self, loss: Tensor) -> bool:
        """Take note of a loss."""
        self.latest.append(loss.detach().clone())
        mean, before = self.mean, self.lowest
        if before is not None:
            gained = mean < before and not torch.isclose(before, mean, atol=self.threshold)
            self.idle = 0 if gained else self.idle + 1
        if before is None or mean <= before:
            self.lowest = mean
        return self.idle >= self.patience


def descend(
    model: nn.Module,
    batches: Callable[[], Iterable[Batch]],
    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    settled: Settled,
    *,
    rounds: int,
    rate: float,
    falling: bool,
    tell: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train on batches (x, y, weights), round after round; `falling` halves the rate where the loss stays.

    Returns what became of it: seconds, the mean of the last losses, steps and rounds.
    """
    started, steps, turn, done = time.perf_counter(), 0, 0, False
    model.train()
    with torch.enable_grad():
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=settled.patience, threshold=settled.threshold
        )
        while turn < rounds and not done:
            for x, y, w in batches():
                steps += 1
                found = loss(y.reshape(len(x), -1), model(x), None if w is None else w.reshape(len(x), -1))
                done = settled.after(found)
                if tell is not None:
                    tell({"step": steps, "rate": optimizer.param_groups[0]["lr"], "loss": float(found)})
                if done:
                    break
                optimizer.zero_grad()
                found.backward()
                optimizer.step()
                if falling:
                    schedule.step(settled.mean.item())
            turn += not done
    return {
        "train_time": time.perf_counter() - started,
        "train_loss": settled.mean.item(),
        "train_iter": steps,
        "train_epoch": turn,
    }
