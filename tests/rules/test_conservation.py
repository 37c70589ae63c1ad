"""Relevance is conserved: what does not reach the inputs is what biases and other constants took, by measurement.

On models of the transformers library as they are, recurrent layers, residual nets and trained models; with next to no
epsilon, in float64 where the model is. The measure sees each operation: what it is given, hands on, and its constants.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import enodo
from enodo.rules import lrp
from enodo.testing.models import normal
from tests.rules.nets import SEQUENCES, Residual, settled
from tests.rules.test_trained import efficientnet, minilm
from tests.rules.test_transformers import IMAGES, SINGLE, SMALL, SOUNDS, TEXT, _first, made, tf

WITHIN = 0.01  # of the score
NAMES = ["zero", "epsilon", "gamma", "epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "deep_taylor", "cp"]
DROPPING = ["epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1"]  # what has nothing that speaks for it


def need_conserved(model: Any, x: Any, within: float = WITHIN, **question: Any) -> Any:
    found = enodo.explain(model, x, "lrp", balance=True, epsilon=1e-12, **question)
    parts = found.delta, found.details["constants"], found.details["lost"]
    torch.testing.assert_close(parts[0] + parts[1] + parts[2], torch.zeros_like(found.scores))
    assert (found.details["lost"].abs() <= within * found.scores.abs()).all(), found.details["lost"] / found.scores
    return found


@pytest.mark.parametrize("composite", ["epsilon", "cp", "epsilon_plus_flat"])
@pytest.mark.parametrize("name", [*TEXT, *SINGLE])
def test_text(name: str, composite: str) -> None:
    """AttnLRP; CP-LRP, in which nothing but the values of attention gets relevance; first layers beside a residual."""
    ids = torch.tensor([[5, 9, 33, 41, 7]])
    need_conserved(made({**TEXT, **SINGLE}[name]), {"input_ids": ids}, target=_first, composite=composite)


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    size = 32 if name in ("ConvNeXt", "ResNet", "MobileNetV2", "SegFormer") else 16
    need_conserved(made(IMAGES[name]), normal(1, 3, size, size), target=_first)


def test_sound() -> None:
    build = lambda: tf.Wav2Vec2ForSequenceClassification(tf.Wav2Vec2Config(**SMALL, **SOUNDS))  # noqa: E731
    need_conserved(made(build), normal(1, 400), target=_first)


@pytest.mark.parametrize("name", [n for n in SEQUENCES if "packed" not in n])
def test_sequences(name: str) -> None:
    need_conserved(settled(SEQUENCES[name]()), normal(2, 4, 6))


@pytest.mark.parametrize("composite", [n for n in NAMES if n != "deep_taylor"])
def test_residual_networks(composite: str) -> None:
    """With batch norms merged, an in-place ReLU for two activations, gates; of two rows, each for itself."""
    x, within = normal(2, 2, 8, 8), 1.0 if composite in DROPPING else WITHIN
    both = need_conserved(settled(Residual(True)), x, within, target=[1, 0], composite=composite)
    second = need_conserved(settled(Residual(True)), x[1:], within, target=0, composite=composite)
    torch.testing.assert_close(both.details["constants"][1:], second.details["constants"])
    assert [note for note in both.notes if "was dropped, most of it in" in note] or composite not in DROPPING


def test_what_has_nothing_that_speaks_for_it_is_dropped_and_told() -> None:
    """z = x - 2 is -1 at x = 1, of which z+ hands on nothing: lost, with a bias or without, and named."""
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1)
    first.weight.data.fill_(1.0)
    second.weight.data.fill_(-2.0)
    second.bias.data.fill_(1.0)
    model, x = nn.Sequential(first, second), torch.ones(2, 1)
    found = enodo.explain(model, x, "lrp", composite="alpha1_beta0", balance=True)
    assert not found.notes
    torch.testing.assert_close(found.details["constants"], torch.full((2,), -1.0))  # the bias is what speaks for it
    bare = enodo.explain(model, x, "lrp", composite="excitation_backprop", balance=True)
    assert bare.notes[0].startswith("Relevance was dropped, most of it in '1'")
    assert bare.details["lost"].tolist() == [-1.0, -1.0]
    assert not bare.details["constants"].any()


@pytest.mark.parametrize("dropout", [nn.Dropout, nn.AlphaDropout])
def test_dropout_in_place_of_what_its_maker_keeps(dropout: type[nn.Module]) -> None:
    """Outside of training it writes nothing, so that the softmax before it may keep its result."""
    layers = nn.Linear(4, 5), nn.Softmax(-1), dropout(0.5, inplace=True), nn.Linear(5, 3)
    need_conserved(settled(nn.Sequential(*layers)), normal(2, 4), target=1)


@pytest.mark.parametrize("cut", [torch.maximum, torch.fmin, torch.max, lambda x, c: x.clamp(c, 9 + x.abs())])
def test_a_constant_that_is_the_larger_takes_its_relevance(cut: Any) -> None:
    found = need_conserved(lambda x: cut(x, torch.tensor([-0.5, 0.7, 2.0])).sum(1), normal(4, 3))
    assert found.details["constants"].abs().min() > 0.1


def bare() -> nn.Module:
    """No bias, no norm: all relevance reaches the inputs."""
    layers = nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2, bias=False), nn.ReLU()
    return settled(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3, bias=False)))


@pytest.mark.parametrize("composite", NAMES)
def test_without_biases_nothing_is_missing(composite: str) -> None:
    """But what z+ for a dense layer drops where a score is negative."""
    x, model = normal(4, 2, 8, 8), bare()
    target = model(x).argmax(1) if composite == "deep_taylor" else 1
    found = enodo.explain(model, x, "lrp", target=target, composite=composite, epsilon=1e-12)
    assert (found.delta.abs() <= 1e-8 * found.scores.abs()).all()


@pytest.mark.parametrize("composite", ["epsilon", "gamma"])  # z+ drops what only speaks against a sum
def test_biases_that_take_nothing(composite: str) -> None:
    """With bias=False shares are of the sums without bias, also of those with a batch norm in them."""
    found = enodo.explain(
        settled(Residual(False)), normal(2, 2, 8, 8), "lrp", target=1, composite=composite, bias=False, epsilon=1e-14
    )
    assert (found.delta.abs() <= 1e-7 * found.scores.abs()).all()


def test_trained_models() -> None:
    model, x = efficientnet(), normal(1, 3, 96, 96)
    need_conserved(model, x, target=282)
    need_conserved(model, x, target=282, composite="epsilon_plus_flat")
    ids = {"input_ids": torch.tensor([[101, 2023, 3185, 2003, 2307, 102]])}
    need_conserved(minilm(), ids, target=lambda o: o.last_hidden_state.mean(1)[:, 7])


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("rule", ["first", "second"])
def test_relevance_of_zeros_is_counted(norms: bool, rule: str) -> None:
    """Half of the picture is zero, and half of what the second layer reads."""
    first, second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 2)
    layers = [first, *([nn.BatchNorm2d(4)] if norms else []), nn.ReLU(), second, nn.ReLU(), nn.Flatten()]
    model, x = settled(nn.Sequential(*layers, nn.Linear(100, 3))), normal(2, 2, 8, 8)
    x[:, :, :4] = 0
    need_conserved(model, x, target=1, rules={first if rule == "first" else second: lrp.flat()})


@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus_flat"])
def test_a_mask_in_the_dtype_of_a_value_is_no_value(composite: str) -> None:
    """And of complex numbers relevance is real."""
    layer, mask = settled(nn.Linear(6, 6, bias=False)), torch.arange(6) % 2 == 0

    def model(x: torch.Tensor) -> torch.Tensor:
        h = layer(x * mask.type_as(x)).relu()
        return torch.fft.fft(h * mask.type_as(h)).real.sum(1)

    x = normal(2, 6)
    found = need_conserved(model, x, composite=composite)
    torch.testing.assert_close(found.tensor, enodo.explain(model, x, "lrp", composite=composite, epsilon=1e-12).tensor)


def test_masks_of_the_lowest_number_take_nothing() -> None:
    """Also where a token may look nowhere, so that its attention is spread over what is masked."""
    lowest = torch.finfo(torch.float64).min
    mask = torch.ones(3, 3, dtype=torch.bool).tril(-1)

    def model(x: torch.Tensor) -> torch.Tensor:
        return ((x @ x.mT).masked_fill(~mask, lowest).softmax(-1) @ x).sum((1, 2))

    need_conserved(model, normal(2, 3, 4))


def test_an_endless_mask_beside_learned_queries_takes_nothing() -> None:
    """Queries that do not come from the input make a layer of the keys, whose bias is the mask."""
    queries, mask = normal(3, 4, seed=1), torch.zeros(3, 3).double()
    mask[1, :2] = mask[2, 1] = float("-inf")

    def model(x: torch.Tensor) -> torch.Tensor:
        return (torch.baddbmm(mask, queries.expand(len(x), 3, 4), x.mT).softmax(-1) @ x).sum((1, 2))

    need_conserved(model, normal(2, 3, 4))


def test_measuring_leaves_gates_as_they_are() -> None:
    """A gate takes nothing of what it lets pass, also where the model casts it to the dtype that it has."""

    def model(x: torch.Tensor) -> torch.Tensor:
        return (x.tanh() * torch.sigmoid(x + 1).to(x.dtype)).sum(1)

    found = need_conserved(model, normal(2, 6))
    torch.testing.assert_close(found.delta, torch.zeros(2).double(), atol=1e-6, rtol=0)
    assert not found.details["constants"].any()


def test_the_balance_is_of_one_target() -> None:
    with pytest.raises(enodo.BadArgument, match="one target"):
        enodo.explain(bare(), normal(1, 2, 8, 8), "lrp", target="all", balance=True)


def test_what_epsilon_absorbs_is_lost() -> None:
    """1 of z = 4 with epsilon = 1 is a fifth; the bias has a quarter of the rest."""
    w, b = torch.tensor([[3.0, -1.0, -2.0]]).double(), torch.ones(1).double()
    x = torch.tensor([[1.0, 2.0, -1.0]]).double()
    found = enodo.explain(lambda x: nn.functional.linear(x, w, b), x, "lrp", target=0, epsilon=1.0, balance=True)
    torch.testing.assert_close(found.details["constants"] + found.details["lost"], torch.tensor([1.6]).double())
