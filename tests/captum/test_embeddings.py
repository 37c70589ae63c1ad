"""Utilities that hold no attribution: embedding stand-ins, token references, product baselines, interpolation."""

from __future__ import annotations

import random
from collections import Counter

import captum.attr as theirs
import pytest
import torch
from torch import nn

import enodo.captum.attr as ours


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.inner = nn.ModuleDict({"emb": nn.Embedding(9, 4)})

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embedding(ids).sum((1, 2))


@pytest.fixture
def model() -> Text:
    torch.manual_seed(0)
    return Text()


def test_the_stand_in_takes_vectors_and_the_layer_comes_back(model: Text) -> None:
    ids = torch.tensor([[1, 2, 3]])
    layer, expected = model.embedding, model(ids)
    with pytest.warns(UserWarning, match="embedding vectors instead of token ids"):
        stand_in = ours.configure_interpretable_embedding_layer(model)
    assert (stand_in.num_embeddings, stand_in.embedding_dim, stand_in.full_name) == (9, 4, "embedding")
    vectors = stand_in.indices_to_embeddings(ids)
    assert torch.equal(vectors, layer(ids))
    assert torch.equal(model(vectors), expected)
    with pytest.raises(ValueError, match="configured already"):
        ours.configure_interpretable_embedding_layer(model)
    ours.remove_interpretable_embedding_layer(model, stand_in)
    assert model.embedding is layer
    assert torch.equal(model(ids), expected)


@pytest.mark.filterwarnings("ignore:The layer")
def test_a_nested_layer_is_found_by_its_dotted_name(model: Text) -> None:
    layer = model.inner["emb"]
    stand_in = ours.configure_interpretable_embedding_layer(model, "inner.emb")
    assert model.inner["emb"] is stand_in
    ours.remove_interpretable_embedding_layer(model, stand_in)
    assert model.inner["emb"] is layer


def test_a_layer_that_is_not_there_is_an_attribute_error_with_the_nearest_name(model: Text) -> None:
    with pytest.raises(AttributeError):
        theirs.configure_interpretable_embedding_layer(model, "embeding")
    with pytest.raises(AttributeError) as error:
        ours.configure_interpretable_embedding_layer(model, "embeding")
    assert "'embedding'" in str(error.value)


def test_the_stand_in_returns_its_first_argument(model: Text) -> None:
    stand_in, x = ours.InterpretableEmbeddingBase(model.embedding, "embedding"), torch.ones(1, 2, 4)
    assert stand_in(x) is x
    assert stand_in(input=x) is x
    with pytest.warns(UserWarning, match="Only the first argument"):
        assert stand_in(x, scale=2) is x
    with pytest.raises(ValueError, match="embedding vectors"):
        stand_in()


@pytest.mark.parametrize(("token", "length"), [(0, 4), (7, 1), (3, 0)])
def test_token_references_are_captums(token: int, length: int) -> None:
    mine = ours.TokenReferenceBase(token).generate_reference(length, torch.device("cpu"))
    reference = theirs.TokenReferenceBase(token).generate_reference(length, torch.device("cpu"))
    assert mine.tolist() == reference.tolist()
    assert mine.dtype == torch.long


@pytest.mark.parametrize("values", [[[1, 2], [3]], {"a": [1, 2], ("b", "c"): [(3, 4), (5, 6)]}], ids=["list", "dict"])
def test_product_baselines_draw_what_captum_draws(values: object) -> None:
    draws = []
    for attr in (ours, theirs):
        random.seed(0)
        draw = attr.ProductBaselines(values)
        draws.append([draw() if i % 2 else draw.sample() for i in range(20)])
    assert draws[0] == draws[1]


def test_product_baselines_draw_each_combination_equally_often() -> None:
    random.seed(0)
    draw = ours.ProductBaselines([[0, 1], [0, 1, 2]])
    counts = Counter(tuple(draw()) for _ in range(6000))
    assert len(counts) == 6
    assert all(abs(count - 1000) < 5 * (6000 * 1 / 6 * 5 / 6) ** 0.5 for count in counts.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1], []], r"baseline_values\[1\]: got an empty list"),
        ({("a", "b"): [(1,)]}, "tuples of 2 values"),
        (3, "a list of lists"),
    ],
)
def test_product_baselines_that_cannot_be_drawn_are_refused(values: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ours.ProductBaselines(values)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("size", [(8, 6), 7])
def test_interpolate_is_captums(mode: str, size: object) -> None:
    x = torch.randn(2, 3, 4, 5)
    mine = ours.LayerAttribution.interpolate(x, size, mode)
    assert torch.equal(mine, theirs.LayerAttribution.interpolate(x, size, mode))


def test_interpolate_of_another_number_of_dimensions_is_a_value_error() -> None:
    for attr in (ours, theirs):
        with pytest.raises(ValueError, match="spatial dimensions"):
            attr.LayerAttribution.interpolate(torch.randn(2, 3, 4, 5), (8, 8, 8))
