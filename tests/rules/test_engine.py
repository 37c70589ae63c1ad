"""The mode that puts rules in the place of gradients: what it sees, what it refuses, and what it leaves alone."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.rules import Rules
from enodo.core.tables import PLAIN, PLAIN_TABLE, Op, Pull, Table, UnknownOperation
from enodo.rules import GUIDED, RESCALE, audit, operation
from enodo.testing.models import normal, seeded
from tests.rules.nets import ACTIVATIONS, settled


def doubled(op: Op) -> Pull:
    """A rule that is easy to recognise."""
    return lambda gy: [2 * gy]


def gradient(table: Table, model: Any, x: Tensor, **options: Any) -> Tensor:
    x = x.clone().requires_grad_()
    with Rules(table, **options):
        y = model(x)
    return torch.autograd.grad(y.sum(), x)[0]


def test_tables_are_added_up_and_the_last_word_counts() -> None:
    table = PLAIN_TABLE | {F.relu: doubled} | {"tanh": doubled} | {torch.relu: lambda op: lambda gy: [3 * gy]}
    x = normal(2, 3)
    assert torch.equal(gradient(table, F.relu, x), torch.full_like(x, 3))
    assert torch.equal(gradient(table, torch.tanh, x), torch.full_like(x, 2))
    assert torch.equal(gradient(table, torch.sin, x), x.cos())
    assert "tanh" not in PLAIN_TABLE.entries


def test_rules_of_ones_own_by_name_or_function() -> None:
    x, x0 = normal(3, 4), normal(3, 4, seed=1)
    for rules in ({torch.erfinv: doubled}, {"erfinv": doubled}, {Tensor.erfinv_: doubled}):
        found = enodo.explain(
            lambda t: (t.tanh() / 2).erfinv().sum(1), x, "deeplift", baseline=x0, rules=rules, multiply=False
        )
        tanh = enodo.explain(lambda t: t.tanh().sum(1), x, "deeplift", baseline=x0, multiply=False)
        torch.testing.assert_close(found.tensor, tanh.tensor)  # half of twice


def test_an_unknown_operation_is_named_with_its_place() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvalsh(x.diag_embed()).square()

    model = nn.Sequential(nn.Linear(4, 4), Odd(), nn.Linear(4, 2)).double().eval()
    with pytest.raises(
        UnknownOperation, match=r"'linalg_eigvalsh' at .*test_engine\.py:\d+, in module '1'.*rules={'linalg_eigvalsh'"
    ):
        enodo.explain(model, normal(2, 4), "deeplift", target=0)
    with pytest.warns(UserWarning, match="its own gradient is taken"):
        found = enodo.explain(model, normal(2, 4), "deeplift", target=0, on_unknown="warn")
    assert found.delta.abs().max() > 1e-6  # which the result says
    met: list[str] = []
    enodo.explain(model, normal(2, 4), "deeplift", target=0, on_unknown=lambda name, spot: met.append(name))
    assert met == ["linalg_eigvalsh"]
    coverage = audit(model, normal(2, 4))
    assert [name for name, _ in coverage.unknown] == ["linalg_eigvalsh"]
    assert not coverage.complete


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x / 2

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] / 2


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return torch.tanh(x) * 2


HIDDEN = {
    "function": lambda x: Halved.apply(x) * 1,
    "function before a constant": lambda x: torch.mul(Halved.apply(x), torch.ones(3).double().cos()),
    "function at the end": lambda x: Halved.apply(x.tanh()),
    "script": lambda x: scripted(x * 1) + 1,
    "script at the end": lambda x: scripted(x * 1),
    "traced module": torch.jit.trace(nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double(), normal(2, 3)),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_code_that_cannot_be_seen_is_refused(name: str) -> None:
    model: Any = HIDDEN[name] if "end" in name else lambda x: HIDDEN[name](x).sum(1)
    for _ in range(3):  # TorchScript makes other graphs once it has seen its inputs
        with pytest.raises(UnknownOperation, match="cannot see"):
            enodo.explain(model, normal(2, 3), "deeplift", target=0 if "end" in name else None)


@pytest.mark.parametrize("method", ["deeplift", "lrp", "guided_backprop", "full_grad"])
def test_a_model_that_takes_gradients_itself_is_refused_by_rules(method: str) -> None:
    """Rules would bend the forces that it adds to its energy, and with them the score."""

    def model(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            energy = (x.relu() ** 3).sum(1)
            return energy + torch.autograd.grad(energy.sum(), x, create_graph=True)[0].sum(1)

    x = normal(2, 4)
    assert enodo.explain(model, x, steps=128).delta.abs().max() < 1e-3
    told = {"on_unknown": "warn"} if method in ("deeplift", "lrp") else {}
    with pytest.raises(UnknownOperation, match=r"'grad' at .*test_engine.*takes gradients.*, such as integ"):
        enodo.explain(model, x, method, **told)
    assert [name for name, _ in audit(model, x).unknown] == ["grad"]


@operation
def halved(x: Tensor) -> Tensor:
    """The function above, where rules can see it."""
    return Halved.apply(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("key", [halved, "halved"])
def test_a_function_can_be_given_a_rule(key: Any) -> None:
    def secant(op: Op) -> Any:
        return lambda gy: [gy * (op.y - op.at.y) / (op.xs[0] - op.at.xs[0])]  # type: ignore[union-attr]

    def model(x: Tensor) -> Tensor:
        return halved(x.tanh()).exp().sum(1)

    x = normal(2, 3)
    with pytest.raises(UnknownOperation, match=r"rules=\{'halved': rule\}"):
        enodo.explain(model, x, "deeplift")
    assert enodo.explain(model, x, "deeplift", rules={key: secant}).delta.abs().max() < 1e-12


@torch.library.custom_op("enodo_tests::twice", mutates_args=())
def _twice(x: Tensor) -> Tensor:
    return x * 2


_twice.register_autograd(lambda ctx, gradient: gradient * 2)


@pytest.mark.parametrize("method", ["deeplift", "lrp"])
def test_an_operation_of_a_library_is_given_a_rule_as_its_error_says(method: str) -> None:
    class Model(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.enodo_tests.twice(super().forward(x))  # type: ignore[no-any-return]

    model, x = Model(3, 2, bias=False).double().eval(), normal(2, 3)
    with pytest.raises(UnknownOperation, match=r"rules=\{'enodo_tests\.twice': rule\}"):
        enodo.explain(model, x, method, target=1)
    found = enodo.explain(model, x, method, target=1, rules={"enodo_tests.twice": PLAIN})
    torch.testing.assert_close(found.tensor, enodo.explain(model, x, "input_x_gradient", target=1).tensor)


def test_what_is_refused_is_placed_in_the_code_of_the_user() -> None:
    """Of a model whose layers are all torch's, that is the line that asks."""
    model = nn.Sequential(nn.Linear(3, 3), HIDDEN["traced module"], nn.Linear(3, 1)).double()
    with pytest.raises(UnknownOperation, match=r"test_engine\.py.*enodo\.rules\.operation"):
        enodo.explain(model.eval(), normal(2, 3), "deeplift")


def test_a_function_may_say_that_it_is_linear() -> None:
    class Linear(Halved):
        linear = True

    found = enodo.explain(lambda x: Linear.apply(x).tanh().sum(1), normal(2, 3), "deeplift")
    assert found.delta.abs().max() < 1e-12


def test_other_paths_at_the_baseline_are_refused() -> None:
    def branching(x: Tensor) -> Tensor:
        return (x.tanh() if x.sum() > 0 else x.sigmoid()).sum(1)

    with pytest.raises(enodo.BadArgument, match=r"'tanh'.*for the inputs, and 'sigmoid'"):
        enodo.explain(branching, torch.ones(2, 3), "deeplift", baseline=-1)
    for most in (lambda x: x[x > 0], lambda x: x[0, (x[0] > 0).nonzero()[:, 0]]):
        with pytest.raises(UnknownOperation, match=r"as many of them for both, not \(2,\) and \(1,\)"):
            enodo.explain(
                lambda x, f=most: f(x).exp().sum()[None], torch.tensor([[1.0, 2.0]]), "deeplift",
                baseline=torch.tensor([[-1.0, 2.0]]),
            )  # fmt: skip
    with pytest.raises(UnknownOperation, match="met most often"):
        enodo.explain(lambda x: x.mode(1)[0], torch.eye(3), "deeplift")
    rows = torch.arange(2)[:, None]
    for moved in (
        lambda x, i: x.scatter(1, i, x.exp(), reduce="add"),
        lambda x, i: x.index_put((rows, i), x, accumulate=True),
        lambda x, i: x.index_add(1, i[0], x),
    ):
        with pytest.raises(UnknownOperation, match="indices that are other ones"):
            enodo.explain(lambda x, f=moved: f(x, x.argsort(1)).sum(1), normal(2, 3), "deeplift")


def test_only_the_path_of_gradients_needs_rules() -> None:
    def model(x: Tensor) -> Tensor:
        order = x.detach().cumprod(1).argsort(1)
        with torch.no_grad():
            scale = x.cumprod(1).exp()
        return (x.tanh() * (scale > 1) + order).sum(1)

    x = normal(2, 3).abs()
    assert torch.isfinite(enodo.explain(model, x, "deeplift", baseline=x / 2).tensor).all()


def test_a_table_that_compares_wants_a_baseline() -> None:
    with pytest.raises(enodo.BadArgument, match="ledger"):
        Rules(RESCALE)
    with pytest.raises(enodo.BadArgument, match="on_unknown"):
        Rules(GUIDED, on_unknown="ignore")


HALF = ["ReLU", "GELU", "Tanh", "Sigmoid", "Softmax", "LogSoftmax", "LayerNorm", "RMSNorm", "GroupNorm", "Hardswish"]


@pytest.mark.parametrize("name", HALF)
def test_in_bfloat16_it_is_as_near_as_the_gradient(name: str) -> None:
    """Differences and sums are taken in float32: what is left is the rounding of the model itself, 2 ** -8 a value."""
    layers = nn.Linear(5, 6), ACTIVATIONS[name](), nn.Linear(6, 6), ACTIVATIONS[name](), nn.Linear(6, 3)
    model, x, x0 = settled(nn.Sequential(*layers)), normal(4, 5), normal(4, 5, seed=1)
    true = enodo.explain(model, x, "deeplift", baseline=x0, target=1).tensor
    found = enodo.explain(model.bfloat16(), x.bfloat16(), "deeplift", baseline=x0.bfloat16(), target=1).tensor
    assert found.dtype == torch.bfloat16
    assert (found.double() - true).norm() < 0.015 * true.norm()


def test_nothing_is_warned_about_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enodo.explain(lambda x: F.softmax(x, -1).log().sum(1), normal(2, 3), "deeplift")


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution", "lrp"])
def test_derivatives_of_explanations_are_those_of_the_true_network(method: str) -> None:
    """Of values below a ReLU that the rule would bend; in place as well."""
    first, second = seeded(nn.Linear(4, 5)), seeded(nn.Linear(5, 3))

    def model(x: Tensor) -> Tensor:
        h = F.relu(first(x) + 0.3)
        return (second(h).tanh_() * second(h).sigmoid()).sum(1)

    x = normal(2, 4).requires_grad_()
    found = enodo.explain(model, x, method, create_graph=True).tensor
    weigh, way = normal(2, 4, seed=5), normal(2, 4, seed=6)
    slope = (torch.autograd.grad((found * weigh).sum(), x)[0] * way).sum()
    up, down = (enodo.explain(model, x.detach() + s * way, method).tensor for s in (1e-6, -1e-6))
    torch.testing.assert_close(slope, ((up - down) * weigh).sum() / 2e-6, rtol=1e-5, atol=1e-6)
