"""Shapley values and surrogates under Captum's names: equal where nothing is random, else in distribution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import captum.attr as theirs
import pytest
import torch
from captum._utils.models import linear_model as their_models
from torch import Tensor, nn
from torch.futures import Future
from torch.utils.data import DataLoader, TensorDataset

import enodo.captum._utils.models.linear_model as models
import enodo.captum.attr as ours
from enodo.captum._utils.models.linear_model import train
from enodo.captum._utils.models.model import Model
from enodo.captum.attr._core import lime
from tests.captum.compare import compare, same
from tests.captum.test_signatures import form, members

pytestmark = pytest.mark.filterwarnings("ignore")
MASK = torch.tensor([[0, 0, 1, 2, 2]])
ROWS = 400  # equal rows, each with draws of its own


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor, scale: Any = 1) -> Tensor:
        return self.second(torch.tanh(self.first(x))) * scale


class Two(Net):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(torch.cat([a, b], 1))


net = Net().eval()
x = torch.linspace(-1, 1, 15).view(3, 5)
QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {"inputs": x, "target": 1},
    "a target a row, a baseline": {"inputs": x, "target": [0, 1, 2], "baselines": 0.3},
    "a mask": {"inputs": x, "target": 1, "feature_mask": MASK},
    "masks a row": {"inputs": x, "target": 1, "feature_mask": torch.stack([MASK[0], MASK[0], MASK[0]])},
    "packed": {"inputs": x, "target": 1, "perturbations_per_eval": 4},
    "a 1-tuple, more arguments": {"inputs": (x,), "target": 0, "additional_forward_args": (torch.rand(3, 1),)},
    "every output": {"inputs": x},
}


# ---------------------------------------------------------------- nothing random
@pytest.mark.parametrize("name", QUESTIONS)
def test_shapley_values(name: str) -> None:
    compare("ShapleyValues", net, **QUESTIONS[name])


def test_a_single_output_keeps_its_dimension() -> None:
    compare("ShapleyValues", lambda x: net(x)[:, :1], inputs=x)


def test_a_score_of_the_whole_batch_and_several_inputs() -> None:
    compare("ShapleyValues", lambda x: net(x).sum(), inputs=x, feature_mask=MASK)
    compare("ShapleyValues", lambda x: float(net(x).sum()), inputs=x, feature_mask=MASK)
    pair = (x[:, :3], x[:, 3:])
    masks = (torch.tensor([[0, 1, 1]]), torch.tensor([[1, 2]]))
    compare("ShapleyValues", Two().eval(), inputs=pair, target=2, feature_mask=masks, baselines=(0.1, x[:1, 3:]))


@pytest.mark.parametrize("name", ["ShapleyValues", "ShapleyValueSampling"])
def test_futures(name: str) -> None:
    def later(x: Tensor) -> Future[Tensor]:
        future: Future[Tensor] = Future()
        future.set_result(net(x))
        return future

    for attr in (ours, theirs):
        found = getattr(attr, name)(later).attribute_future(x, target=1, feature_mask=MASK)
        plain = ours.ShapleyValues(net).attribute(x, target=1, feature_mask=MASK)
        tolerance = 1e-5 if attr is ours or name == "ShapleyValues" else 0.2
        torch.testing.assert_close(found.wait(), plain, rtol=tolerance, atol=tolerance)
    with pytest.raises(NotImplementedError, match="KernelShap"):
        ours.KernelShap(net).attribute_future()


# ---------------------------------------------------------------- in distribution
def several(attr: Any, name: str, n: int, options: dict[str, Any], **question: Any) -> Tensor:
    """Answers for many equal rows, (ROWS, 5)."""
    torch.manual_seed(2)
    explainer = getattr(attr, name)(net, **options)
    if (attr, name) == (theirs, "ShapleyValueSampling"):  # which draws for all rows together
        return torch.cat([explainer.attribute(x[:1], target=1, n_samples=n) for _ in range(ROWS // 4)]).double()
    found = explainer.attribute(x[:1].expand(ROWS, -1).contiguous(), target=1, n_samples=n, **question)
    return found.double()


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_lime_in_distribution(similarity: str) -> None:
    """Mean and variance of each slope agree within five standard errors."""
    kernels = [attr.get_exp_kernel_similarity_function(similarity, 0.7) for attr in (lime, _their_lime())]
    mine = several(ours, "Lime", 12, {"similarity_func": kernels[0]})
    reference = several(theirs, "Lime", 12, {"similarity_func": kernels[1]})
    for a, b in ((mine, reference), ((mine - mine.mean(0)).square(), (reference - reference.mean(0)).square())):
        spread = ((a.var(0) + b.var(0)) / ROWS).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 5 * spread + 1e-6).all()


def _their_lime() -> Any:
    import captum.attr._core.lime

    return captum.attr._core.lime


def test_shapley_sampling_and_kernel_shap_have_captums_mean_and_less_variance() -> None:
    exact = ours.ShapleyValues(net).attribute(x[:1], target=1).double()
    for name, n in (("ShapleyValueSampling", 4), ("KernelShap", 20)):
        mine, reference = several(ours, name, n, {}), several(theirs, name, n, {})
        spread = (mine.var(0) / len(mine) + reference.var(0) / len(reference)).sqrt()
        assert ((mine.mean(0) - reference.mean(0)).abs() <= 5 * spread + 5e-3).all()
        assert (mine - exact).square().mean() < (reference - exact).square().mean() / 2


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "KernelShap", "Lime"])
def test_manual_seed_governs_the_answer(name: str) -> None:
    wide = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 2))
    question = {"inputs": torch.ones(2, 12), "target": 0, "n_samples": 40 if name != "ShapleyValueSampling" else 4}
    answers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(getattr(ours, name)(wide).attribute(**question))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("name", ["KernelShap", "Lime"])
def test_one_number_a_feature(name: str) -> None:
    """Features are counted from the smallest number of the mask to its largest, gaps too."""
    mask = torch.tensor([[3, 3, 4, 7, 7]])
    for attr in (ours, theirs):
        explainer = getattr(attr, name)(net)
        found = explainer.attribute(x, target=1, feature_mask=mask, n_samples=60, return_input_shape=False)
        assert found.shape == (3, 5)
    single = ours.KernelShap(net).attribute(x[:1], target=1, feature_mask=mask, return_input_shape=False)
    spread = ours.KernelShap(net).attribute(x[:1], target=1, feature_mask=mask)
    torch.testing.assert_close(spread, single[:, [0, 0, 1, 4, 4]])


# ---------------------------------------------------------------- functions of the user's
def listed(original: Any, **kwargs: Any) -> Iterator[Tensor]:
    """Every coalition of three features."""
    for k in range(8):
        yield torch.tensor([[k & 1, k >> 1 & 1, k >> 2 & 1]])


def nearness(original: Any, perturbed: Any, code: Tensor, **kwargs: Any) -> float:
    assert code.shape == (1, kwargs["num_interp_features"])
    assert perturbed.shape == original.shape
    return 1.0 + float(code.sum()) + float((perturbed - original).abs().sum())


@pytest.mark.parametrize("made", ["SkLearnLasso", "SkLearnRidge", "SkLearnLinearRegression", "SGDRidge"])
def test_lime_with_functions_and_models_of_ones_own(made: str) -> None:
    options = {} if "Reg" in made or made == "SGDRidge" else {"alpha": 0.02}
    found = []
    for attr, kind in ((ours, models), (theirs, their_models)):
        explainer = attr.Lime(net, getattr(kind, made)(**options), nearness, listed)
        found.append(explainer.attribute(x, target=1, feature_mask=MASK, n_samples=8, baselines=0.2))
        assert explainer.interpretable_model.representation().shape == (1, 3)
    torch.testing.assert_close(*found, rtol=1e-4, atol=2e-5)


def test_lime_base() -> None:
    """Samples of the inputs and of the interpretable space; what comes back is the model's representation."""

    def noisy(original: Tensor, **kwargs: Any) -> Tensor:
        return original + torch.linspace(-1, 1, 5) * next(steps)

    for inside in (True, False):
        found = []
        for attr, kind in ((ours, models), (theirs, their_models)):
            steps = iter(torch.linspace(-2, 2, 20))
            codes = iter(torch.eye(5).repeat(4, 1).long())
            explainer = attr.LimeBase(
                net,
                kind.SkLearnRidge(alpha=0.1),
                lambda original, perturbed, code, width: float(torch.exp(-(original - perturbed).norm() / width)),
                (lambda original, codes=codes, **kwargs: next(codes)[None]) if inside else noisy,
                inside,
                lambda code, original, **kwargs: original * code,
                lambda sample, original, **kwargs: sample - original,
            )
            given = {"target": 1, "additional_forward_args": (torch.tensor([[2.0]]),), "n_samples": 20, "width": 2.0}
            found.append(explainer.attribute(x[:1], perturbations_per_eval=3, **given))
        same(*found)


def test_lime_base_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"^to_interp_rep_transform: .*space of the inputs"):
        ours.LimeBase(net, models.SkLearnRidge(), nearness, listed, False, None, None)
    with pytest.raises(ValueError, match=r"^n_samples: got 1"):
        ours.KernelShap(net).attribute(x, target=0, n_samples=1)
    with pytest.raises(ValueError, match=r"^distance_mode: "):
        lime.get_exp_kernel_similarity_function("manhattan")


# ---------------------------------------------------------------- linear models
MODELS = list(their_models.__all__)


@pytest.mark.parametrize("name", MODELS)
def test_models_have_captums_signatures(name: str) -> None:
    mine, reference = getattr(models, name), getattr(their_models, name)
    assert {c.__name__ for c in reference.__mro__ if "captum" in c.__module__} <= {c.__name__ for c in mine.__mro__}
    assert issubclass(mine, Model)
    for member in members(reference):
        if callable(getattr(reference, member)):
            assert form(getattr(mine, member)) == form(getattr(reference, member)), member
    assert set(models.__all__) == set(their_models.__all__)


TRAINED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("SGDLasso", {}, {"alpha": 0.02}),
    ("SGDRidge", {"norm_type": "layer_norm", "affine_norm": True}, {"alpha": 0.01, "max_epoch": 5}),
    ("SGDLinearRegression", {"norm_type": "batch_norm"}, {"reduce_lr": False, "running_loss_window": 3}),
    ("SGDLinearRegression", {"bias": False}, {"initial_lr": 0.1, "patience": 3}),
    ("SkLearnLasso", {"alpha": 0.05}, {"norm_input": True}),
    ("SkLearnLinearRegression", {"fit_intercept": False}, {}),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "made", "fitted"), TRAINED, ids=str)
def test_models_are_trained_as_captums(name: str, made: dict, fitted: dict, weighted: bool) -> None:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(24, 4, generator=g)
    data = (z, z @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 0.3, torch.rand(24, generator=g))
    found = []
    for kind in (models, their_models):
        model = getattr(kind, name)(**made)
        said = model.fit(DataLoader(TensorDataset(*data[: 2 + weighted]), batch_size=8), **fitted)
        bias = model.bias()
        found.append((model.representation(), torch.zeros(1) if bias is None else bias, model(z).detach()))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    assert "train_time" in said


def test_a_linear_model_is_made_as_asked_or_not_at_all() -> None:
    model = models.LinearModel(train.sgd_train_linear_model)
    with pytest.raises(ValueError, match="norm_type: "):
        model._construct_model_params(3, 1, norm_type="instance")
    with pytest.raises(ValueError, match="in_features: "):
        model._construct_model_params()
    with pytest.raises(ValueError, match=r"^model: .*not fitted"):
        model.representation()
    assert form(train.sgd_train_linear_model) == form(_their_train().sgd_train_linear_model)
    assert form(train.sklearn_train_linear_model) == form(_their_train().sklearn_train_linear_model)


def _their_train() -> Any:
    import captum._utils.models.linear_model.train

    return captum._utils.models.linear_model.train
