"""What LIME asks of a model that it fits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader


class Model(ABC):
    """A model that is trained on samples, and has a representation."""

    @abstractmethod
    def fit(self, train_data: DataLoader, **kwargs: Any) -> dict[str, Any] | None:
        """Train anew on batches (x, y) or (x, y, weights); statistics of the training, or None."""

    @abstractmethod
    def representation(self) -> Tensor:
        """What the model is, as a tensor: for a linear model its weights."""

    @abstractmethod
    def __call__(self, x: Any) -> Any:
        """What the model says of x."""
