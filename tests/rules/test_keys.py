"""What the keys of rules can name, and what an audit says of a model under a table."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.operations import is_operation, spelling
from enodo.core.tables import Op, Pull, UnknownOperation
from enodo.rules import FIRST, GUIDED, LAST, Composite, audit
from enodo.rules import lrp as rules
from enodo.testing.models import normal, seeded


def lrp(model: Any, x: Tensor, **options: Any) -> Tensor:
    return enodo.explain(model, x, "lrp", **options).tensor


def doubled(op: Op) -> Pull:
    """A rule that is easy to recognise."""
    return lambda gy: [2 * gy]


def test_rules_for_a_module_hold_for_what_it_does_itself() -> None:
    model = seeded(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)))
    x = normal(2, 3)
    one = enodo.explain(model, x, "guided_backprop", target=0, rules={model[1]: doubled}).tensor
    both = enodo.explain(model, x, "guided_backprop", target=0, rules={torch.tanh: doubled}).tensor
    own = enodo.explain(model, x, "guided_backprop", target=0, rules={model[3]: lambda op: op.vjp, model[1]: doubled})
    assert torch.equal(one, own.tensor)
    assert not torch.allclose(one, both)
    with torch.no_grad():
        upper = model[4].weight[0] * (1 - torch.tanh(model[:3](x)).square())
    torch.testing.assert_close(one, 2 * upper @ model[2].weight @ model[0].weight)


@pytest.mark.parametrize("method", ["deeplift", "deeplift_shap", "guided_backprop", "deconvolution"])
def test_a_key_of_rules_is_a_type_a_name_or_a_pattern_of_modules(method: str) -> None:
    """As of relevance propagation; a key that can never be met is refused, not passed over."""
    model = seeded(
        nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Sequential(nn.Linear(3, 3), nn.Tanh()), nn.Linear(3, 2))
    )
    x = normal(2, 3)

    def asked(rules: Any, model: Any = model) -> Tensor:
        return enodo.explain(model, x, method, target=0, baseline=normal(2, 3, seed=1), rules=rules).tensor

    both, second = asked({torch.tanh: doubled}), asked({model[2][1]: doubled})
    for keys in ({nn.Tanh: doubled}, {"*1": doubled, "2.0": lambda op: op.vjp}, {"1": doubled, "2.1": doubled}):
        torch.testing.assert_close(asked(keys), both)
    torch.testing.assert_close(asked({"2.1": doubled}), second)
    assert not torch.allclose(second, both)
    for bad, match in (
        ({nn.ReLU: doubled}, r"type ReLU, of which the model has none.*\{torch\.nn\.functional\.relu: rule\}"),
        ({"2.7": doubled}, "'2.7', which is the name of no module.*'2.1'"),
        ({lambda x: x: doubled}, "an operation of torch, by name or as a function.*enodo.rules.operation"),
        ({3: doubled}, "a rule for 3"),
    ):
        with pytest.raises(enodo.BadArgument, match=match):
            asked(bad)
    with pytest.raises(enodo.BadArgument, match="type Tanh"):
        asked({nn.Tanh: doubled}, lambda x: model(x))


def test_the_remedy_for_an_unknown_operation_can_be_pasted() -> None:
    """Whatever torch calls the operation by: each name that a mode meets is taken as a key of rules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = torch.overrides.get_overridable_functions()
    homes = (torch, torch.linalg, torch.fft, torch.special, nn.functional)
    names = {spelling(f).name for home in homes for f in every[home]}
    assert len(names) > 500
    assert [name for name in names if not is_operation(name)] == []
    for model, name in (
        (lambda x: torch.linalg.inv(x.diag_embed()).sum((1, 2)), "linalg_inv"),
        (lambda x: torch.fft.hfft(x).sum(1), "fft_hfft"),
    ):
        with pytest.raises(UnknownOperation, match=f"rules={{'{name}': rule}}"):
            enodo.explain(model, normal(2, 3), "deeplift", baseline=1)
        enodo.explain(model, normal(2, 3), "deeplift", baseline=1, rules={name: lambda op: op.vjp})


def test_an_audit_says_what_is_done_where() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU())

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            return (h * torch.sigmoid(h)).sum(1)

    rows = {row["operation"]: row for row in audit(seeded(Net()), normal(2, 4)).rows()}
    kinds = {name: row["kind"] for name, row in rows.items()}
    assert kinds == {
        "linear": "linear", "layer_norm": "decomposed", "gelu": "ruled", "sigmoid": "ruled", "mul": "ruled",
        "sum": "linear",
    }  # fmt: skip
    assert rows["gelu"]["module"] == "body.2"
    assert rows["mul"]["module"] == ""
    assert rows["mul"]["file"].endswith("test_keys.py")
    assert "body.1" in str(audit(seeded(Net()), normal(2, 4)))
    linear = sum(row["calls"] for row in audit(seeded(Net()), normal(2, 4)).rows() if row["kind"] == "linear")
    assert f"{linear} linear" in str(audit(seeded(Net()), normal(2, 4))).splitlines()[-1]
    assert audit(seeded(Net()), normal(2, 4), rules=GUIDED).complete


def test_an_audit_says_why_attributions_need_not_add_up() -> None:
    """Numbers that leave the path; not decisions, nor what is but shaped like them."""

    def model(x: Tensor) -> Tensor:
        with torch.no_grad():
            size = x.abs()
        y = x.detach() * (x > 0) + torch.zeros_like(x) + x.new_ones(3) + size + x[:, :1].mean().item()
        return (x * y + torch.special.entr(x)).sum(1)

    found = audit(model, normal(2, 3))
    assert [row["operation"] for row in found.rows() if row["kind"] == "detached"] == ["abs", "detach", "item"]
    said = str(found).splitlines()
    assert {line.split(":")[0] for line in said[-2:]} == {"detached", "unknown"}
    assert "completeness gap" in said[-2]
    assert "on_unknown" in said[-1]
    assert len({line.index(row["kind"]) for line, row in zip(said[1:], found.rows(), strict=False)}) == 1
    assert "plain: its own gradient" in str(audit(model, normal(2, 3), rules=GUIDED))
    assert "add up" not in str(audit(lambda x: x.relu().sum(1), normal(2, 3)))
    relevance = {row["operation"]: row["kind"] for row in audit(model, normal(2, 3), rules=Composite()).rows()}
    assert (relevance["mul"], relevance["entr"]) == ("linear", "unknown")


class Block(nn.Module):
    """A layer of its own, and one that is but a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.weight = nn.Parameter(torch.zeros(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4) -> (B, 4)."""
        return F.linear(self.second(self.first(x).relu()).relu(), self.weight)


def nested() -> nn.Module:
    return seeded(nn.Sequential(Block(), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)))


PLACES: dict[str, tuple[Any, list[Any]]] = {
    "a module": (lambda m: m[2], ["2"]),
    "its name": (lambda m: "0.second", ["0.second"]),
    "a container": (lambda m: "0", ["0.first", "0.second", "0"]),
    "a pattern": (lambda m: "0.*", ["0.first", "0.second"]),
    "a type": (lambda m: nn.Linear, ["0.first", "0.second", "2", "4"]),
    "the first": (lambda m: FIRST, ["0.first"]),
    "the last": (lambda m: LAST, ["4"]),
    "all": (lambda m: torch.nn.functional.linear, ["0.first", "0.second", "0", "2", "4"]),
}


@pytest.mark.parametrize("place", PLACES)
def test_where_a_rule_is_set(place: str) -> None:
    """As many rules of one's own, set on modules, each of which says that it was asked."""
    key, names = PLACES[place]
    model, x = nested(), normal(2, 4)
    asked: list[Any] = []

    def telling(rule: Any) -> Any:
        def shares(layer: Any) -> Any:
            asked.append(layer.w)
            return rule.shares(layer)

        return type(rule)(shares)

    found = lrp(model, x, target=1, rules={key(model): telling(rules.z_plus())})
    weights = [dict(model.named_modules())[name].weight for name in names]
    assert sorted(w.data_ptr() for w in asked) == sorted(w.data_ptr() for w in weights)
    assert not torch.allclose(found, lrp(model, x, target=1))
    assert torch.equal(found, lrp(model, x, target=1, rules={key(model): telling(rules.z_plus())}))


def test_a_composite_of_ones_own() -> None:
    model, x = nested(), normal(2, 4)
    own = lrp(model, x, target=1, composite=Composite(rules.gamma(), first=rules.w_square(), last=rules.epsilon()))
    rest = {"linear": rules.gamma(), "0.first": rules.w_square(), "4": rules.epsilon()}
    torch.testing.assert_close(own, lrp(model, x, target=1, rules=rest))


def test_unknown_names_of_modules_are_refused() -> None:
    with pytest.raises(enodo.BadArgument, match=r"rules.*the name of no module.*0\.second"):
        lrp(nested(), normal(2, 4), target=1, rules={"0.secnd": rules.gamma()})


@pytest.mark.parametrize("composite", ["epsilon", "gamma", "alpha1_beta0"])
def test_complex_layers_hand_on_what_their_gradient_does(composite: str) -> None:
    """Sums of complex numbers have no sign by which contributions could be told apart."""
    w = torch.complex(normal(3, 4), normal(3, 4, seed=1))

    def model(x: Tensor) -> Tensor:
        y = torch.complex(x, x.flip(1)) @ w.mT
        return (y.real.relu() + y.imag.relu()).sum(1)

    x = normal(2, 4)
    found = enodo.explain(model, x, "lrp", composite=composite, balance=True)
    torch.testing.assert_close(found.tensor, enodo.explain(model, x, "input_x_gradient").tensor)
    assert found.details["lost"].abs().max() < 1e-12


class Normed(nn.Module):
    """A batch norm that no layer with weights stands beside, and one that is merged."""

    def __init__(self) -> None:
        super().__init__()
        self.alone, self.merged = nn.BatchNorm1d(3), nn.BatchNorm1d(4)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.merged(self.first(torch.relu(self.alone(torch.tanh(x)))))))


def test_a_rule_of_weights_for_what_has_none_is_refused() -> None:
    """Of a norm or an activation it was passed over, and one that fits any operation was where it was set by name."""
    model, x = seeded(Normed()), normal(2, 3)
    for key in ("alone", model.alone, "merged", nn.BatchNorm1d):
        for rule in (rules.gamma(), rules.z_plus(), rules.flat()):
            with pytest.raises(enodo.BadArgument, match=r"rules: got .*BatchNorm1d\).*the layer beside it"):
                lrp(model, x, target=0, rules={key: rule})
    usual = lrp(model, x, target=0)
    assert not torch.allclose(lrp(model, x, target=0, rules={"*": rules.gamma()}), usual)  # layers are among them
    named = [lrp(model, x, target=0, rules={key: rules.epsilon(0.5)}) for key in ("alone", model.alone)]
    torch.testing.assert_close(*named)
    assert not torch.allclose(named[0], usual)
