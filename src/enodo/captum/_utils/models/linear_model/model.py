"""A linear model with the way it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.data import DataLoader

from enodo.captum._utils.models.linear_model.train import l2_loss, sgd_train_linear_model, sklearn_train_linear_model
from enodo.captum._utils.models.model import Model
from enodo.core.errors import refuse


class LinearModel(nn.Module, Model):
    """A linear layer, maybe after a normalisation, that `train_fn` makes and trains; `kwargs` go to the maker."""

    SUPPORTED_NORMS: ClassVar[list[str | None]] = [None, "batch_norm", "layer_norm"]

    def __init__(self, train_fn: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__()
        self.norm: nn.Module | None = None
        self.linear: nn.Linear | None = None
        self.train_fn = train_fn
        self.construct_kwargs = kwargs

    def _construct_model_params(
        self,
        in_features: int | None = None,
        out_features: int | None = None,
        norm_type: str | None = None,
        affine_norm: bool = False,
        bias: bool = True,
        weight_values: Tensor | None = None,
        bias_value: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> None:
        """Make the layers: of given sizes, or with given values; `affine_norm` lets the normalisation learn."""
        if norm_type not in self.SUPPORTED_NORMS:
            refuse("norm_type", repr(norm_type), f"one of {self.SUPPORTED_NORMS}")
        if weight_values is not None:
            in_features = weight_values.shape[-1]
            out_features = 1 if weight_values.ndim == 1 else len(weight_values)
        if in_features is None or out_features is None:
            refuse("in_features", "no size", "in_features and out_features, or weight_values")
        if bias_value is not None and not bias:
            refuse("bias_value", bias_value, "None, where bias=False")
        self.norm = None
        if norm_type == "batch_norm":
            self.norm = nn.BatchNorm1d(in_features, eps=1e-8, affine=affine_norm)
        elif norm_type == "layer_norm":
            self.norm = nn.LayerNorm(in_features, eps=1e-8, elementwise_affine=affine_norm)
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        if weight_values is not None:
            self.linear.weight.data = weight_values
        if bias_value is not None:
            self.linear.bias.data = bias_value
        if classes is not None:
            self.linear.classes = classes

    def fit(self, train_data: DataLoader, **kwargs: Any) -> Any:
        """Train; what is said of the training is returned."""
        return self.train_fn(self, dataloader=train_data, construct_kwargs=self.construct_kwargs, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """The prediction."""
        fitted = self._fitted()
        return fitted(x if self.norm is None else self.norm(x))

    def representation(self) -> Tensor:
        """The weights, (outputs, features)."""
        return self._fitted().weight.detach()

    def bias(self) -> Tensor | None:
        """The bias, where there is one."""
        return None if self.linear is None or self.linear.bias is None else self.linear.bias.detach()

    def classes(self) -> Tensor | None:
        """The classes that outputs stand for, where they do."""
        found = getattr(self.linear, "classes", None)
        return None if found is None else found.detach()

    def _fitted(self) -> nn.Linear:
        if self.linear is None:
            refuse("model", "one that was not fitted", "a call of fit before")
        return self.linear


class SGDLinearModel(LinearModel):
    """Trained by gradient descent."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(train_fn=sgd_train_linear_model, **kwargs)


class SGDLasso(SGDLinearModel):
    """Squared error and the sum of absolute weights."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def fit(self, train_data: DataLoader, **kwargs: Any) -> Any:
        return super().fit(train_data=train_data, loss_fn=l2_loss, reg_term=1, **kwargs)


class SGDRidge(SGDLinearModel):
    """Squared error and the length of the weights."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def fit(self, train_data: DataLoader, **kwargs: Any) -> Any:
        return super().fit(train_data=train_data, loss_fn=l2_loss, reg_term=2, **kwargs)


class SGDLinearRegression(SGDLinearModel):
    """Squared error alone."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def fit(self, train_data: DataLoader, **kwargs: Any) -> Any:
        return super().fit(train_data=train_data, loss_fn=l2_loss, reg_term=None, **kwargs)


class SkLearnLinearModel(LinearModel):
    """Trained by a class of scikit-learn, named as "linear_model.Lasso" is; `kwargs` go to its constructor."""

    def __init__(self, sklearn_module: str, **kwargs: Any) -> None:
        super().__init__(train_fn=sklearn_train_linear_model, **kwargs)
        self.sklearn_module = sklearn_module

    def fit(self, train_data: DataLoader, **kwargs: Any) -> Any:
        return super().fit(train_data=train_data, sklearn_trainer=self.sklearn_module, **kwargs)


def _named(name: str) -> Any:
    """The class that trains by a class of scikit-learn's."""

    def __init__(self: Any, **kwargs: Any) -> None:
        SkLearnLinearModel.__init__(self, sklearn_module=name, **kwargs)

    def fit(self: Any, train_data: DataLoader, **kwargs: Any) -> Any:
        return SkLearnLinearModel.fit(self, train_data=train_data, **kwargs)

    short = f"SkLearn{name.rpartition('.')[2]}"
    body = {"__init__": __init__, "fit": fit, "__doc__": f"Trained by `sklearn.{name}`.", "__module__": __name__}
    return type(short, (SkLearnLinearModel,), body)


SkLearnLasso = _named("linear_model.Lasso")
SkLearnRidge = _named("linear_model.Ridge")
SkLearnLinearRegression = _named("linear_model.LinearRegression")
SkLearnLogisticRegression = _named("linear_model.LogisticRegression")
SkLearnSGDClassifier = _named("linear_model.SGDClassifier")
