"""Law 15, further: tensors that no pass can take, rules that nothing meets; with `bad_input`, the whole table."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader

import enodo
from enodo.testing.models import seeded
from tests.laws import bad_input
from tests.laws.bad_input import bad, complaint, mlp, x

TYPE = enodo.core.errors.BadType

z = torch.complex(x, x)


class Spectral(nn.Module):
    """A model with a layer of complex values."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.kept(torch.fft.fft(x)).abs()


@torch.library.custom_op("enodo_tests::underived", mutates_args=())
def underived(x: Tensor) -> Tensor:
    """An operation that hands back no gradient, as those of quantised layers do."""
    return x.clone()


underived.register_autograd(lambda ctx, gradient: None)


class Underived(nn.Module):
    """A model on whose way there is such an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(torch.ops.enodo_tests.underived(self.first(x).relu()))
        return y


power: dict[str, Any] = {"model": lambda z: z.abs() ** 2, "inputs": z}
spectral = Spectral().eval()
broken: dict[str, Any] = {"model": seeded(Underived()), "kind": enodo.NoPath}

TABLE = [
    *bad_input.TABLE,
    bad("a tensor without numbers", "inputs", "meta|device", inputs=x.to("meta")),
    bad("a nested tensor", "inputs", "nested|to_padded_tensor", inputs=torch.nested.nested_tensor([x[0], x[1]])),
    bad("a class for a model", "model", "Linear|Make one", TYPE, model=nn.Linear),
    bad("a text for a model of numbers", "inputs", "'hello'|enodo.text", TYPE, inputs="hello"),
    bad("texts for a model of numbers", "inputs", "enodo.text", TYPE, inputs=["hello", "you"]),
    bad("a picture as it was opened", "inputs", "transform(image)[None]", TYPE, inputs=Image.new("RGB", (4, 4))),
    bad("a loader", "inputs", "DataLoader|next(iter(loader))[0]", TYPE, inputs=DataLoader(x)),
    bad("an estimator", "model", "model.predict_proba|kernel_shap", TYPE, model=LogisticRegression()),
    bad("the inputs in the place of the model", "model", "model comes before", TYPE, model=x),
    bad("weights for a model", "model", "load", TYPE, model=mlp.state_dict()),
    bad("one target in many", "target", "Each(3)|list", TYPE, target=enodo.Each(3)),
    bad("a name for many", "target", "Each('all')|list", TYPE, target=enodo.Each("all")),
    bad("a mask of nothing", "target", "False everywhere", target=torch.zeros(3, dtype=torch.bool)),
    bad("a box of nothing", "target", "without places|(2, 4)", target=(slice(1, 1),)),
    bad("a term misspelt", "options", "'baselines'|'baseline'", TYPE, baselines=0),
    bad("a score too few, at many points", "target", "(1,)|8 rows|4 points of 2", model=lambda t: t[:1], steps=2),
    bad("a sparse baseline", "baseline", "sparse|to_dense", baseline=x.to_sparse()),
    bad("gradients of complex numbers", "wrt", "INPUT|complex|view_as_real", **power),
    bad("the same, in one pass", "wrt", "INPUT|complex|view_as_real", method="gradient", **power),
    bad("noise on complex numbers", "wrt", "INPUT|complex|view_as_real", method="smoothgrad", **power),
    bad("gradients at a complex layer", "wrt", "kept|complex|view_as_real", model=spectral, wrt="kept"),
    bad("rules to a complex layer", "wrt", "kept|complex", model=spectral, wrt="kept", method="deeplift"),
    bad("a way with a gap", "wrt", "no gradient", method="gradient", **broken),
    bad("the same, under rules", "wrt", "no gradient", method="guided_backprop", **broken),
    bad("the same, followed by biases", "wrt", "no gradient", method="full_grad", **broken),
    bad("a rule that is none, for DeepLIFT", "rules", "3|'tanh'|function", TYPE, method="deeplift", rules={"tanh": 3}),
    bad("rules in a list", "rules", "[1]|mapping", TYPE, method="guided_backprop", rules=[1]),
    bad("a rule for a misspelt operation", "rules", "'tan_h'|'tanh'", method="deeplift", rules={"tan_h": abs}),
    bad("the same, for LRP", "rules", "'tan_h'|'tanh'", method="lrp", rules={"tan_h": abs}),
    bad("a rule for a number", "rules", "3|torch.relu", method="full_grad", rules={3: abs}),
]  # fmt: skip


if __name__ == "__main__":
    found = [f"{row.argument}, {row.what}: {said}" for row in TABLE if (said := complaint(row))]
    raise SystemExit("\n".join(found) or 0)
