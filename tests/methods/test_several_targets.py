"""Several targets at once equal a loop over them, at inputs, layers and neurons, whatever the method."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import enodo
from enodo import BadArgument, Each
from enodo.core import vjp
from enodo.core.values import Values
from tests.laws import ask as asked
from tests.methods.models import Bag, Mlp, Squares, uniform

pytestmark = pytest.mark.filterwarnings("ignore::enodo.core.errors.SamplingWarning")
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "input_x_gradient": {},
    "gradient_x_activation": {},
    "integrated_gradients": {"steps": 5},
    "conductance": {"steps": 5},
    "internal_influence": {"steps": 5},
    "gradient_shap": {"samples": 5, "baseline": uniform(3, 4, seed=8)},
    "deeplift": {},
    "deeplift_shap": {"baseline": uniform(3, 4, seed=8)},
    "lrp": {},
    "guided_backprop": {},
    "deconvolution": {},
    "grad_cam": {},
    "grad_cam_plus_plus": {},
    "xgrad_cam": {},
    "hires_cam": {},
    "layer_cam": {},
    "smoothgrad": {"samples": 3, "noise": 0.1},
    "smoothgrad_sq": {"samples": 3, "noise": 0.1},
    "vargrad": {"samples": 3, "noise": 0.1},
}
# of no target or one, or asked elsewhere
APART = {"activation", "eigen_cam", "neuron_conductance", "guided_grad_cam"} | asked.APART
METHODS |= {method: asked.few(method) for method in enodo.methods() if method not in APART | set(METHODS)}
PLACES = {
    "inputs": {},
    "layer": {"wrt": "act1"},
    "neurons": {"of": "act2"},
    "neurons at a layer": {"wrt": "first", "of": "act2"},
    "layer input": {"wrt": "act2:in"},
}
MODEL, X = Mlp(4), uniform(4, 4)


def loop(method: str, specs: list[Any], **options: Any) -> list[enodo.Attribution]:
    return [enodo.explain(MODEL, X, method, target=t, **options) for t in specs]


def assert_stacked(got: enodo.Attribution, parts: list[enodo.Attribution]) -> None:
    torch.testing.assert_close(got.tensor, torch.stack([p.tensor for p in parts]), atol=1e-13, rtol=0)
    for name in ("scores", "baseline_scores", "delta"):
        mine, theirs = getattr(got, name), [getattr(p, name) for p in parts]
        assert (mine is None) == (theirs[0] is None), name
        if mine is not None:
            torch.testing.assert_close(mine, torch.stack(theirs), atol=1e-13, rtol=0)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", METHODS)
def test_all_is_the_loop(method, place):
    options = METHODS[method] | PLACES[place]
    classes = 5 if "of" in options else 3
    got = enodo.explain(MODEL, X, method, target="all", **options)
    assert_stacked(got, loop(method, list(range(classes)), **options))


@pytest.mark.parametrize("method", METHODS)
def test_each_is_the_loop(method):
    specs = [2, (0,), "predicted", [0, 1, 2, 0], torch.tensor([1, 1, 0, 2]), lambda y: y[:, 0] - y[:, 2]]
    got = enodo.explain(MODEL, X, method, target=Each(specs), **METHODS[method])
    assert_stacked(got, loop(method, specs, **METHODS[method]))


@pytest.mark.parametrize("method", METHODS)
def test_a_callable_of_several_scores_is_the_loop(method):
    got = enodo.explain(MODEL, X, method, target=lambda y: torch.stack([y[:, 1], y.sum(1)], 1), **METHODS[method])
    assert_stacked(got, loop(method, [1, lambda y: y.sum(1)], **METHODS[method]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_the_size_of_passes_does_not_matter(method, batch_size):
    whole = enodo.explain(MODEL, X, method, target="all", **METHODS[method])
    cut = enodo.explain(MODEL, X, method, target="all", batch_size=batch_size, **METHODS[method])
    torch.testing.assert_close(cut.tensor, whole.tensor, atol=1e-13, rtol=0)
    torch.testing.assert_close(cut.scores, whole.scores, atol=1e-13, rtol=0)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("gradient_shap", "guided_ig", *asked.LEARNT)])
def test_forward_passes_are_shared(method):
    """Three targets cost the forward rows of one (but for a path, or a mask, of its own for each of them)."""
    one = enodo.explain(MODEL, X, method, target=0, **METHODS[method])
    three = enodo.explain(MODEL, X, method, target="all", **METHODS[method])
    assert three.rows == one.rows


@pytest.mark.parametrize("parallel", [1, 2, 4, 6, 7, 9])
def test_targets_that_share_a_backward_pass_in_groups(parallel):
    """d (x_b A)_t / d x_b = A_t, whichever of the seven targets go together."""
    a, x = uniform(7, 3), uniform(4, 3, seed=1).requires_grad_()
    (found,) = vjp.gradients(a @ x.T, Values([x]), parallel, False)
    assert found is not None
    torch.testing.assert_close(found, a[:, None].expand(7, 4, 3))


def test_one_target_in_a_list_still_leads_with_a_dimension():
    got = enodo.explain(MODEL, X, "gradient", target=Each([1]))
    assert got.shape == (1, 4, 4)
    assert torch.equal(got.tensor[0], enodo.explain(MODEL, X, "gradient", target=1).tensor)


def test_several_places_and_several_targets():
    got = enodo.explain(MODEL, X, "integrated_gradients", target="all", wrt=["act1", "act2"], steps=4)
    assert [tuple(v.shape) for v in got.values] == [(3, 4, 6), (3, 4, 5)]
    for t in range(3):
        one = enodo.explain(MODEL, X, "integrated_gradients", target=t, wrt=["act1", "act2"], steps=4)
        for mine, theirs in zip(got.values, one.values, strict=True):
            torch.testing.assert_close(mine[t], theirs, atol=1e-13, rtol=0)


def test_several_inputs_of_which_one_is_unused_by_a_target():
    """y_0 = a, y_1 = a b: the second input has no share in the first target."""

    def model(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([a.sum(1), a.sum(1) * b.sum(1)], 1)

    a, b = uniform(3, 2), uniform(3, 2, seed=1)
    got = enodo.explain(model, (a, b), "gradient", target="all")
    torch.testing.assert_close(got[0], torch.stack([torch.ones_like(a), b.sum(1, keepdim=True).expand(3, 2)]))
    torch.testing.assert_close(got[1], torch.stack([torch.zeros_like(b), a.sum(1, keepdim=True).expand(3, 2)]))


def test_token_ids():
    bag, ids = Bag(), torch.tensor([[1, 2, 3], [4, 4, 0]])
    got = enodo.explain(bag, ids, "integrated_gradients", target="all")
    wanted = torch.einsum("btd,cd->cbt", bag.embed(ids), bag.head.weight).detach()
    torch.testing.assert_close(got.tensor, wanted)


def test_an_operation_that_cannot_be_batched_is_looped():
    """A backward pass that vmap refuses (a custom function without a rule for it) goes one target at a time."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return torch.from_numpy((g * 2 * x).numpy())  # leaves torch, which vmap cannot follow

    x, w = uniform(3, 4), uniform(4, 5, seed=1)
    got = enodo.explain(lambda x: Square.apply(x) @ w, x, "gradient", target="all")
    torch.testing.assert_close(got.tensor, 2 * x * w.T[:, None])


def test_neurons_of_several_targets_are_refused():
    with pytest.raises(BadArgument, match="single target"):
        enodo.explain(MODEL, X, "neuron_conductance", target="all", through="act1")


@pytest.mark.parametrize("target", [Each([]), Each([0, 7]), Each(["best"]), Each([0, [1, 2]])])
def test_bad_targets_within_each_are_refused(target):
    with pytest.raises(BadArgument) as caught:
        enodo.explain(MODEL, X, "gradient", target=target)
    assert caught.value.argument == "target"


def test_all_of_a_single_score():
    got = enodo.explain(Squares(), uniform(2, 3), "gradient", target="all")
    assert got.shape == (1, 2, 3)
