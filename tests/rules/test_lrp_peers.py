"""Relevance propagation equals zennit's on convolutional nets and lxt's on a Llama and a BERT."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.rules import lrp as rules
from enodo.testing.models import normal
from tests.rules.nets import settled
from tests.rules.peers import lxt_bert, lxt_llama, relevance_by_zennit, zennit

SMALL = {"stabilizer": 1e-9, "epsilon": 1e-9}
LOW, HIGH = (torch.full((1, 2, 8, 8), v, dtype=torch.float64) for v in (-4.0, 4.0))
SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "epsilon_plus": ("EpsilonPlus", SMALL),
    "epsilon_plus_flat": ("EpsilonPlusFlat", SMALL),
    "epsilon_alpha2_beta1": ("EpsilonAlpha2Beta1", SMALL),
    "epsilon_alpha2_beta1_flat": ("EpsilonAlpha2Beta1Flat", SMALL),
    "epsilon_gamma_box": ("EpsilonGammaBox", {**SMALL, "low": LOW, "high": HIGH}),
    "excitation_backprop": ("ExcitationBackprop", {"stabilizer": 1e-9}),
}


def network(norms: bool, bias: bool) -> nn.Module:
    def norm(layer: nn.Module) -> list[nn.Module]:
        return [layer] if norms else []

    layers = [
        nn.Conv2d(2, 4, 3, padding=1, bias=bias), *norm(nn.BatchNorm2d(4)), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, bias=bias), *norm(nn.BatchNorm2d(5)), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(5, 6, bias=bias), *norm(nn.BatchNorm1d(6)), nn.ReLU(), nn.Linear(6, 3, bias=bias),
    ]  # fmt: skip
    return settled(nn.Sequential(*layers))


def pictures() -> Tensor:
    x = normal(3, 2, 8, 8)
    x[0, :, :4] = 0  # which flat, box and the like give relevance
    return x


@pytest.mark.parametrize(
    ("name", "bias"), [(n, b) for n in SHARED for b in (False, True) if (n, b) != ("excitation_backprop", True)]
)
def test_composites_of_zennit(name: str, bias: bool) -> None:
    """But for excitation backprop with biases: zennit gives positive ones a share, which its paper does not."""
    theirs, options = SHARED[name]
    composite = getattr(zennit("composites"), theirs)(**options)
    reference = relevance_by_zennit(network(False, bias), pictures(), composite, 1)
    found = enodo.explain(network(False, bias), pictures(), "lrp", target=1, composite=name, box=(-4, 4)).tensor
    assert reference.abs().max() > 0.1
    torch.testing.assert_close(found, reference, rtol=1e-6, atol=1e-8)


def test_norms_merged_by_zennit() -> None:
    """zennit leaves norms of mean 0 and variance 1 behind, whose eps makes a difference of 1e-5."""
    merging = [zennit("canonizers").SequentialMergeBatchNorm()]
    composite = zennit("composites").EpsilonGammaBox(**SHARED["epsilon_gamma_box"][1], canonizers=merging)
    reference = relevance_by_zennit(network(True, True), pictures(), composite, 1)
    found = enodo.explain(
        network(True, True), pictures(), "lrp", target=1, composite="epsilon_gamma_box", box=(-4, 4)
    ).tensor
    torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-5 * reference.abs().max().item())


@pytest.mark.parametrize("rule", ["gamma", "generalised gamma", "w-square", "flat", "alpha-beta", "epsilon"])
def test_rules_of_zennit_in_the_midst(rule: str) -> None:
    """At the second convolution, where relevance of zeros goes on through a ReLU that was off."""
    theirs, names = zennit("rules"), zennit("composites")
    made: dict[str, tuple[Any, Any]] = {
        "gamma": (theirs.Gamma(0.5, stabilizer=1e-9), rules.gamma(0.5)),
        "generalised gamma": (theirs.Gamma(2.0, stabilizer=1e-9), rules.gamma(2.0)),
        "w-square": (theirs.WSquare(stabilizer=1e-9, zero_params="bias"), rules.w_square()),
        "flat": (theirs.Flat(stabilizer=1e-9, zero_params="bias"), rules.flat()),
        "alpha-beta": (theirs.AlphaBeta(1.5, 0.5, stabilizer=1e-9), rules.alpha_beta(1.5, 0.5)),
        "epsilon": (theirs.Epsilon(0.1), rules.epsilon(0.1)),
    }
    other, ours = made[rule]
    model = network(False, True)
    if rule == "generalised gamma":
        model[1] = nn.Tanh()  # values of both signs
    composite = names.MixedComposite(
        [
            names.NameMapComposite([(["3"], other)]),
            names.LayerMapComposite([*names.layer_map_base(1e-9), ((nn.Conv2d, nn.Linear), theirs.Epsilon(1e-9))]),
        ]
    )
    reference = relevance_by_zennit(model, pictures(), composite, 1)
    found = enodo.explain(model, pictures(), "lrp", target=1, rules={model[3]: ours}).tensor
    torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-7 * reference.abs().max().item())


@pytest.mark.parametrize(("kind", "composite"), [("attnLRP", "epsilon"), ("cp_LRP", "cp")])
def test_llama_by_lxt(kind: str, composite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """lxt computes input x gradient of a model that it has patched; its matrices have LRP-0."""
    tf = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = tf.LlamaConfig(**sizes, num_key_value_heads=1, vocab_size=60)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tf.LlamaForCausalLM(config).eval()
    vectors = model.get_input_embeddings()(torch.tensor([[5, 9, 33, 41, 7]])).detach()
    target = lambda out: out.logits[:, -1, 7]  # noqa: E731
    found = enodo.explain(model, {"inputs_embeds": vectors}, "lrp", target=target, composite=composite)["inputs_embeds"]
    lxt_llama(monkeypatch, kind)
    at = vectors.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(model(inputs_embeds=at)), at)
    torch.testing.assert_close(found, gradient * vectors, rtol=1e-3, atol=1e-4 * found.abs().max().item())


def test_bert_by_lxt(monkeypatch: pytest.MonkeyPatch) -> None:
    tf = pytest.importorskip("transformers")
    from transformers.activations import GELUActivation
    from transformers.models.bert import modeling_bert

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tf.BertForSequenceClassification(tf.BertConfig(**sizes, vocab_size=60)).double().eval()
    vectors = model.get_input_embeddings()(torch.tensor([[5, 9, 33, 41, 7]])).detach()
    target = lambda out: out.logits[:, 1]  # noqa: E731
    found = enodo.explain(model, {"inputs_embeds": vectors}, "lrp", target=target)["inputs_embeds"]
    lxt_bert(monkeypatch, modeling_bert, (GELUActivation, nn.Tanh))
    at = vectors.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(model(inputs_embeds=at)), at)
    torch.testing.assert_close(found, gradient * vectors, rtol=1e-5, atol=1e-6 * found.abs().max().item())
