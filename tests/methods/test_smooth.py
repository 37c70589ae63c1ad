"""SmoothGrad (Smilkov et al. 2017), its square (Hooker et al. 2019) and VarGrad (Adebayo et al. 2018) in closed form.

The gradient of sum c_i x_i^2 at x + e, e ~ N(0, s^2), is normal: mean 2 c x, variance (2 c s)^2. Rows draw from streams
of their own, so that many equal rows are many independent runs.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import enodo
from enodo import BadArgument
from tests.methods.models import Bag, Mlp, tensor, uniform

C = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
X = torch.tensor([[0.3, -0.8, 1.2]], dtype=torch.float64)
SMOOTH = ("smoothgrad", "smoothgrad_sq", "vargrad")
RUNS = 400


def squares(x: Tensor) -> Tensor:
    return x.square() @ C


def runs(method: str, **options: object) -> Tensor:
    """The answers of many independent runs, (RUNS, 3)."""
    return tensor(squares, X.expand(RUNS, 3), method, **options)


def assert_mean(got: Tensor, wanted: Tensor) -> None:
    """The mean over the runs is within 4 of its standard errors."""
    error = got.std(0) / len(got) ** 0.5
    assert ((got.mean(0) - wanted).abs() < 4 * error).all(), (got.mean(0), wanted, error)


def test_the_mean_of_a_quadratics_gradient_is_the_gradient():
    assert_mean(runs("smoothgrad", noise=0.5, relative=False, samples=20), 2 * C * X[0])


def test_the_square_has_the_variance_added():
    """E[g^2] = (2 c x)^2 + (2 c s)^2."""
    got = runs("smoothgrad_sq", noise=0.5, relative=False, samples=20)
    assert_mean(got, (2 * C * X[0]) ** 2 + (2 * C * 0.5) ** 2)


@pytest.mark.parametrize("samples", [2, 5, 50])
def test_vargrad_is_the_variance(samples):
    """E[a^2] - E[a]^2 of n samples has the mean (n - 1) / n (2 c s)^2."""
    got = runs("vargrad", noise=0.5, relative=False, samples=samples)
    assert_mean(got, (2 * C * 0.5) ** 2 * (samples - 1) / samples)


def test_vargrad_is_the_square_less_the_square_of_the_mean():
    options = {"noise": 0.5, "samples": 7, "target": 1}
    mean, square, variance = (tensor(Mlp(4), uniform(3, 4), m, **options) for m in SMOOTH)
    torch.testing.assert_close(variance, square - mean**2, atol=1e-13, rtol=0)


def test_relative_noise_is_a_share_of_the_range_of_each_row():
    """With noise 0.25 and a range of 2 (from -0.8 to 1.2), s = 0.5; a row ten times as wide has ten times the noise."""
    assert_mean(runs("vargrad", noise=0.25, samples=10), (2 * C * 0.5) ** 2 * 0.9)
    wide = tensor(squares, (10 * X).expand(RUNS, 3), "vargrad", noise=0.25, samples=10)
    assert_mean(wide, (2 * C * 5) ** 2 * 0.9)


def test_relative_noise_is_of_each_input_for_itself():
    """Inputs of the ranges 2 and 20: the same share of noise on each."""
    got = enodo.explain(
        lambda a, b: squares(a) + squares(b), (X.expand(RUNS, 3), (10 * X).expand(RUNS, 3)), "vargrad",
        noise=0.25, samples=10,
    )  # fmt: skip
    assert_mean(got[0], (2 * C * 0.5) ** 2 * 0.9)
    assert_mean(got[1], (2 * C * 5) ** 2 * 0.9)


def test_a_cubic_is_smoothed():
    """E[3 (x + e)^2] = 3 x^2 + 3 s^2: what smoothing is for."""
    got = tensor(lambda x: x.pow(3).sum(1), X.expand(RUNS, 3), "smoothgrad", noise=0.4, relative=False)
    assert_mean(got, 3 * X[0] ** 2 + 3 * 0.16)


@pytest.mark.parametrize(
    ("method", "truth"), [("smoothgrad", 2 * C * X[0]), ("smoothgrad_sq", None), ("vargrad", None)]
)
def test_the_standard_error_covers_as_often_as_it_says(method, truth):
    """95 % of many independent runs, each by its own standard error."""
    samples, s = 400, 0.3
    got = enodo.explain(squares, X.expand(200, 3), method, noise=s, relative=False, samples=samples)
    if truth is None:
        variance = (2 * C * s) ** 2
        truth = variance if method == "vargrad" else variance + (2 * C * X[0]) ** 2
    inside = ((got.tensor - truth).abs() <= 1.96 * got.stderr).double().mean()
    assert 0.93 < inside < 0.97


@pytest.mark.parametrize("inner", ["gradient", "integrated_gradients", "input_x_gradient", "activation"])
def test_without_noise_it_is_the_method_itself(inner):
    model, x = Mlp(4), uniform(3, 4)
    options = {"steps": 7} if inner == "integrated_gradients" else {}
    plain = tensor(model, x, inner, target=1, **options)
    smooth = {m: enodo.explain(model, x, m, inner=inner, noise=0.0, samples=3, target=1, **options) for m in SMOOTH}
    torch.testing.assert_close(smooth["smoothgrad"].tensor, plain, atol=1e-14, rtol=0)
    torch.testing.assert_close(smooth["smoothgrad_sq"].tensor, plain**2, atol=1e-14, rtol=0)
    for name, exact in (("vargrad", smooth["vargrad"].tensor), ("error", smooth["smoothgrad"].stderr)):
        assert exact.abs().max() < 1e-14, name


def test_the_smoothing_of_integrated_gradients():
    """f = sum c x^2 from zero: the attribution c (x + e)^2 has the mean c (x^2 + s^2)."""
    got = runs("smoothgrad", inner="integrated_gradients", steps=1, noise=0.5, relative=False)
    assert_mean(got, C * (X[0] ** 2 + 0.25))


def test_at_a_layer_the_noise_is_on_the_inputs():
    """h = W (x + e): the activation has the variance s^2 |W_j|^2."""
    w = uniform(2, 3, seed=3)
    model = torch.nn.Linear(3, 2, bias=False, dtype=torch.float64).eval()
    model.weight.data.copy_(w)
    options = {"inner": "activation", "wrt": "", "noise": 0.5, "relative": False, "samples": 20}
    got = tensor(model, X.expand(RUNS, 3), "vargrad", **options)
    assert_mean(got, 0.25 * w.square().sum(1) * 19 / 20)


def test_token_ids_have_noise_on_their_vectors():
    """A bag of embeddings is linear: its gradient has no variance; its input x gradient has s^2 |w|^2."""
    bag, ids = Bag(), torch.tensor([[1, 2, 3]]).expand(RUNS, 3)
    still = tensor(bag, ids, "vargrad", target=1, noise=0.3, relative=False)
    assert still.abs().max() < 1e-28
    moving = tensor(bag, ids, "vargrad", inner="input_x_gradient", target=1, noise=0.3, relative=False, samples=20)
    assert_mean(moving, (0.09 * bag.head.weight[1].square().sum() * 19 / 20).detach().expand(3))


def test_the_target_stays_the_class_predicted_without_noise():
    model, x = Mlp(4), uniform(8, 4)
    got = enodo.explain(model, x, "smoothgrad", target="predicted", noise=5.0, samples=4)
    assert got.target == model(x).argmax(1).tolist()
    fixed = enodo.explain(model, x, "smoothgrad", target=got.target, noise=5.0, samples=4)
    assert torch.equal(got.tensor, fixed.tensor)


@pytest.mark.parametrize("method", SMOOTH)
@pytest.mark.parametrize("inner", ["gradient", "integrated_gradients", "gradient_shap"])
def test_neither_mates_nor_passes_nor_the_global_generator_matter(method, inner):
    model, x = Mlp(4), uniform(5, 4)
    options = {"inner": inner, "target": 1, "noise": 0.3, "samples": 5}
    before = torch.random.get_rng_state()
    whole = tensor(model, x, method, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    for batch_size in (1, 3, 64):
        cut = tensor(model, x, method, batch_size=batch_size, **options)
        torch.testing.assert_close(cut, whole, atol=1e-13, rtol=0)
    torch.testing.assert_close(tensor(model, x[:1], method, **options), whole[:1], atol=1e-13, rtol=0)
    assert not torch.allclose(tensor(model, x, method, seed=5, **options), whole)


def test_a_column_of_single_numbers_has_no_range():
    """Inputs of shape (B,): relative noise has no range to be a share of, and is zero; the reader is told."""
    got = enodo.explain(lambda x: x**3, uniform(4), "smoothgrad", noise=0.5)
    torch.testing.assert_close(got.tensor, 3 * uniform(4) ** 2)
    assert len(got.notes) == 1
    assert "all equal gets none" in got.notes[0]


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": 1.0}, "samples"),
        ({"noise": -1.0}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"noise": "much"}, "noise"),
        ({"inner": "integrated_gradient"}, "inner"),
        ({"stepps": 5}, "options"),
        ({"inner": "integrated_gradients", "stepps": 5}, "options"),
    ],
)
@pytest.mark.parametrize("method", SMOOTH)
def test_bad_options_are_refused_by_name(method, options, argument):
    with pytest.raises(BadArgument) as caught:
        enodo.explain(squares, X, method, **options)
    assert argument in caught.value.argument


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_drawn_baselines_do_not_depend_on_the_size_of_passes(batch_size):
    x, background = uniform(2, 3), uniform(4, 3, seed=1)
    given = {"inner": "integrated_gradients", "steps": 3, "samples": 5, "draw_baseline": True, "baseline": background}
    whole = enodo.explain(squares, x, "smoothgrad", batch_size=100, **given)
    cut = enodo.explain(squares, x, "smoothgrad", batch_size=batch_size, **given)
    torch.testing.assert_close(cut.tensor, whole.tensor, atol=1e-12, rtol=0)


def test_inputs_whose_sign_is_still_to_be_turned():
    """As of the imaginary part of a conjugate, which torch leaves as a view."""
    x = torch.complex(torch.zeros(2, 3), torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])).conj().imag
    given = {"method": "smoothgrad", "samples": 3}
    found = enodo.explain(lambda x: x.pow(3).sum(1), x, **given)
    torch.testing.assert_close(found.tensor, enodo.explain(lambda x: x.pow(3).sum(1), x.clone(), **given).tensor)
