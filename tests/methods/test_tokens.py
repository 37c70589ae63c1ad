"""Token ids: explained at the lookups they reach, one score a token, on models whose shares are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import enodo
from enodo import EMBEDDING, INPUT, BadArgument
from tests.methods.models import Bag, tensor, uniform

IDS = torch.tensor([[1, 2, 3, 3], [4, 0, 10, 7], [5, 5, 5, 5]])
IG = "integrated_gradients"


def shares(bag: Bag, ids: Tensor, target: int = 1) -> Tensor:
    """w . e(id) for every token: what it adds to the score of a bag."""
    return (bag.embed(ids) @ bag.head.weight[target]).detach()


class Two(nn.Module):
    """Words and their positions looked up in two tables, the sums multiplied: neither is linear alone."""

    def __init__(self, keyword: str = "ids") -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 3, dtype=torch.float64), nn.Embedding(6, 3, dtype=torch.float64)
        with torch.no_grad():
            self.words.weight.copy_(uniform(11, 3))
            self.places.weight.copy_(uniform(6, 3, seed=1))
        self.eval()

    def forward(self, ids: Tensor, places: Tensor) -> Tensor:
        return (self.words(ids).sum(1) * self.places(places).sum(1)).sum(-1)


@pytest.mark.parametrize("method", [IG, "input_x_gradient", "conductance", "gradient_shap"])
def test_a_bag_of_words_by_hand(method):
    """From the zero embedding each token's share of the score is w . e(id), exactly."""
    bag = Bag()
    options = {"samples": 3} if method == "gradient_shap" else {"steps": 400} if method == "conductance" else {}
    got = enodo.explain(bag, IDS, method, target=1, **options)
    assert got.shape == IDS.shape
    tolerance = {"atol": 1e-4, "rtol": 1e-4} if method == "conductance" else {"atol": 1e-14, "rtol": 0}
    torch.testing.assert_close(got.tensor, shares(bag, IDS), **tolerance)
    if got.delta is not None and method != "conductance":
        assert got.delta.abs().max() < 1e-13
        torch.testing.assert_close(got.baseline_scores, bag.head.bias[1].detach().expand(3))


def test_the_gradient_of_a_token_is_the_sum_over_its_vector():
    bag = Bag()
    got = tensor(bag, IDS, "gradient", target=1)
    torch.testing.assert_close(got, bag.head.weight[1].sum().detach().expand(3, 4))


@pytest.mark.parametrize("method", [IG, "gradient", "input_x_gradient", "activation"])
def test_embedding_gives_the_values_of_each_dimension(method):
    bag = Bag()
    got = tensor(bag, IDS, method, target=1, wrt=EMBEDDING)
    vectors, w = bag.embed(IDS).detach(), bag.head.weight[1].detach()
    wanted = {"gradient": w.expand(3, 4, 3), "activation": vectors}.get(method, vectors * w)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(got.sum(-1), tensor(bag, IDS, method, target=1))


def test_the_layer_itself_gives_the_same():
    bag = Bag()
    at_layer = tensor(bag, IDS, IG, target=1, wrt="embed", baseline=torch.zeros_like(IDS))
    vectors, zero = bag.embed(IDS).detach(), bag.embed(torch.zeros_like(IDS)).detach()
    torch.testing.assert_close(at_layer, (vectors - zero) * bag.head.weight[1].detach())


class TestBaselines:
    def test_ids(self):
        """w . (e(id) - e(pad)); a token that equals the baseline's gets nothing."""
        bag = Bag()
        for baseline in (0, torch.zeros_like(IDS), torch.zeros(4, dtype=torch.long), lambda: 0, [0, 0, 0, 0]):
            got = enodo.explain(bag, IDS, IG, target=1, baseline=baseline)
            torch.testing.assert_close(got.tensor, shares(bag, IDS) - shares(bag, torch.zeros_like(IDS)))
            torch.testing.assert_close(got.baseline_scores, bag(torch.zeros_like(IDS))[:, 1].detach())
            assert got.tensor[1, 1] == 0

    def test_ids_of_each_row(self):
        bag, base = Bag(), IDS.flip(0)
        torch.testing.assert_close(tensor(bag, IDS, IG, target=1, baseline=base), shares(bag, IDS) - shares(bag, base))

    def test_a_background_of_ids(self):
        """In expectation w . (e(id) - mean e(b)), position by position."""
        bag, background = Bag(), torch.tensor([[0, 1, 2, 3], [9, 9, 9, 9], [4, 5, 6, 7]])
        got = enodo.explain(bag, IDS[:1].expand(400, 4), "gradient_shap", target=1, baseline=background, samples=20)
        wanted = shares(bag, IDS[:1]) - shares(bag, background).mean(0)
        error = got.tensor.std(0) / 400**0.5
        assert ((got.tensor.mean(0) - wanted[0]).abs() < 4 * error).all()

    def test_numbers_that_are_no_ids_are_refused(self):
        for baseline in (0.5, torch.zeros(3, 4), torch.full((3, 4), 11), -1):
            with pytest.raises((BadArgument, IndexError)):
                enodo.explain(Bag(), IDS, IG, target=1, baseline=baseline)


class TestStructures:
    def test_a_mapping_with_a_mask(self):
        """Keyword inputs: the ids get one score a token, the mask (an integer that is no id) zeros and a note."""

        class Masked(Bag):
            def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
                vectors = self.embed(input_ids) * attention_mask[..., None].double()
                return {"logits": self.head(vectors.sum(1)), "hidden": vectors}

        bag, mask = Masked(), torch.tensor([[1, 1, 1, 0]] * 3)
        inputs = {"input_ids": IDS, "attention_mask": mask}
        got = enodo.explain(bag, inputs, IG, target=1)
        assert set(got.values) == {"input_ids", "attention_mask"}
        torch.testing.assert_close(got["input_ids"], shares(bag, IDS) * mask)
        assert not got["attention_mask"].any()
        assert any("attention_mask" in note for note in got.notes)
        alone = enodo.explain(bag, inputs, IG, target=1, wrt=INPUT["input_ids"])
        torch.testing.assert_close(alone.tensor, shares(bag, IDS) * mask)
        assert not alone.notes
        other = enodo.explain(bag, inputs, IG, target=1, baseline={"input_ids": 0})
        torch.testing.assert_close(other["input_ids"], (shares(bag, IDS) - shares(bag, torch.zeros_like(IDS))) * mask)

    def test_two_lookups(self):
        """The product of two sums: by hand from the zero embedding, half of e . other for each side."""
        model, places = Two(), torch.tensor([[0, 1, 2], [3, 4, 5], [0, 0, 0]])
        words, others = model.words(IDS).detach(), model.places(places).detach()
        got = enodo.explain(model, (IDS, places), IG, steps=2)
        torch.testing.assert_close(got[0], (words * others.sum(1, keepdim=True)).sum(-1) / 2)
        torch.testing.assert_close(got[1], (others * words.sum(1, keepdim=True)).sum(-1) / 2)
        both = enodo.explain(model, (IDS, places), IG, steps=2, wrt=EMBEDDING)
        assert [tuple(v.shape) for v in both.values] == [(3, 4, 3), (3, 3, 3)]
        first = enodo.explain(model, (IDS, places), IG, steps=2, wrt=INPUT[0])
        torch.testing.assert_close(first.tensor, (words * others.sum(1, keepdim=True)).sum(-1))

    def test_one_input_that_is_looked_up_twice(self):
        """Both tables' vectors belong to the same token: their shares add up."""

        class Twice(Two):
            def forward(self, ids: Tensor) -> Tensor:  # type: ignore[override]
                return self.words(ids).sum((1, 2)) + 2 * self.places(ids).sum((1, 2))

        model, ids = Twice(), torch.tensor([[0, 1], [5, 5]])
        wanted = (model.words(ids).sum(-1) + 2 * model.places(ids).sum(-1)).detach()
        torch.testing.assert_close(tensor(model, ids, IG), wanted)

    def test_numbers_beside_ids(self):
        class Mixed(Bag):
            def forward(self, ids: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
                return super().forward(ids)[:, 1] + 3 * x[:, 0]

        bag, x = Mixed(), uniform(3, 2)
        got = enodo.explain(bag, {"x": x, "ids": IDS}, IG)
        torch.testing.assert_close(got["ids"], shares(bag, IDS))
        torch.testing.assert_close(got["x"], torch.stack([3 * x[:, 0], 0 * x[:, 1]], 1))

    def test_ids_deep_in_a_nest(self):
        class Nested(Bag):
            def forward(self, batch: dict[str, Any]) -> Tensor:  # type: ignore[override]
                return super().forward(batch["text"][0]["ids"])

        bag = Nested()
        got = enodo.explain(bag, ({"text": [{"ids": IDS, "length": 4}]},), IG, target=1)
        torch.testing.assert_close(got[0]["text"][0]["ids"], shares(bag, IDS))
        assert got[0]["text"][0]["length"] is None


WAYS = {
    "offsets a row": lambda ids: ids % 2 + 3 * (torch.full_like(ids[:, :1], 7) % 3),
    "columns of one table": lambda ids: ids % 3 + torch.tensor([0, 3, 6, 8])[None],
    "transposed": lambda ids: ids.T.contiguous().T,
    "flattened and back": lambda ids: ids.reshape(-1).view(ids.shape),
    "clamped": lambda ids: ids.clamp(0, 5),
    "cast": lambda ids: ids.int().long(),
    "masked": lambda ids: ids.masked_fill(ids == 5, 0),
    "chosen": lambda ids: torch.where(ids > 3, ids, 1),
    "a copy changed in place": lambda ids: ids.clone().add_(0),
}


MOVES = {
    "flipped": (lambda ids: ids.flip(1), [3, 2, 1, 0]),
    "rolled": (lambda ids: ids.roll(1, 1), [3, 0, 1, 2]),
    "a part": (lambda ids: ids[:, 1:3], [1, 2]),
    "picked": (lambda ids: ids[:, [2, 0]], [2, 0]),
    "index_select": (lambda ids: ids.index_select(1, torch.tensor([3, 1])), [3, 1]),
    "gathered": (lambda ids: ids.gather(1, torch.tensor([[1, 1]] * len(ids))), [1, 1]),
    "halves joined": (lambda ids: torch.cat(ids.chunk(2, 1)[::-1], 1), [2, 3, 0, 1]),
    "stacked columns": (lambda ids: torch.stack([ids[:, 3], ids[:, 0]], 1), [3, 0]),
    "unbound": (lambda ids: torch.stack(ids.unbind(1)[::2], 1), [0, 2]),
    "a start token before": (lambda ids: F.pad(ids, (1, 0), value=9), [None, 0, 1, 2, 3]),
    "a start token joined": (
        lambda ids: torch.cat([ids.new_full((len(ids), 1), 9), ids], 1),
        [None, 0, 1, 2, 3],
    ),
}


LOOKUPS = {
    "F.embedding": lambda w, ids: F.embedding(ids, w),
    "torch.embedding": torch.embedding,
    "indexing": lambda w, ids: w[ids],
    "flat ids": lambda w, ids: F.embedding(ids.reshape(-1), w).view(*ids.shape, -1),
    "rows second": lambda w, ids: F.embedding(ids.T, w).transpose(0, 1),
    "index_select": lambda w, ids: w.index_select(0, ids.flatten()).view(*ids.shape, -1),
}


class TestWaysToTheLookup:
    """Positions are followed through what models do to ids before they look them up."""

    @pytest.mark.parametrize("way", WAYS)
    def test_entries_that_stay_in_place(self, way):
        change = WAYS[way]

        class Changed(Bag):
            def forward(self, ids: Tensor) -> Tensor:
                return super().forward(change(ids))

        bag = Changed()
        torch.testing.assert_close(tensor(bag, IDS, IG, target=1), shares(bag, change(IDS)))

    @pytest.mark.parametrize("way", MOVES)
    def test_entries_that_move(self, way):
        change, origin = MOVES[way]

        class Moved(Bag):
            def forward(self, ids: Tensor) -> Tensor:
                return super().forward(change(ids))

        bag = Moved()
        wanted = torch.zeros(3, 4, dtype=torch.float64)
        for place, source in enumerate(origin):
            if source is not None:
                wanted[:, source] += shares(bag, change(IDS))[:, place]
        torch.testing.assert_close(tensor(bag, IDS, IG, target=1, baseline=None), wanted)

    @pytest.mark.parametrize("way", LOOKUPS)
    def test_lookups_of_every_spelling(self, way):
        class Looked(Bag):
            def forward(self, ids: Tensor) -> Tensor:
                return self.head(LOOKUPS[way](self.embed.weight, ids).sum(1))

        bag = Looked()
        for batch_size in ("auto", 1, 7):
            got = tensor(bag, IDS, IG, target=1, steps=3, batch_size=batch_size)
            torch.testing.assert_close(got, shares(bag, IDS))

    @pytest.mark.parametrize("mode", ["sum", "mean"])
    def test_embedding_bags(self, mode):
        class Bags(Bag):
            def forward(self, ids: Tensor) -> Tensor:
                return self.head(F.embedding_bag(ids, self.embed.weight, mode=mode))

        bag = Bags()
        torch.testing.assert_close(tensor(bag, IDS, IG, target=1), shares(bag, IDS) / (4 if mode == "mean" else 1))

    def test_rows_that_are_mixed_are_refused(self):
        class Mixed(Bag):
            def forward(self, ids: Tensor) -> Tensor:
                return self.head(self.embed(ids.flip(0)).sum(1))

        with pytest.raises(BadArgument, match="mixes the rows"):
            enodo.explain(Mixed(), IDS, IG, target=1)

    def test_a_model_without_a_lookup_is_refused(self):
        with pytest.raises(BadArgument, match="no embedding"):
            enodo.explain(lambda x: x.double().sum(1), IDS, IG)

    def test_one_hot_ids_are_refused(self):
        with pytest.raises(BadArgument, match="no embedding"):
            enodo.explain(lambda ids: F.one_hot(ids, 11).double().sum((1, 2)), IDS, IG)

    def test_embedding_without_ids_is_refused(self):
        with pytest.raises(BadArgument, match="integer inputs"):
            enodo.explain(lambda x: x.sum(1), uniform(2, 3), IG, wrt=EMBEDDING)


NOISY = [("smoothgrad", {"noise": 0.3}), ("gradient_shap", {"baseline": IDS[:2]})]


@pytest.mark.parametrize(("method", "options"), NOISY)
def test_the_standard_error_is_that_of_the_sums_over_a_tokens_vector(method, options):
    """As answers under many seeds spread: the entries of a vector vary together, so theirs do not add up."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Embedding(11, 6), nn.Linear(6, 6), nn.Tanh(), nn.Flatten(), nn.Linear(24, 5), nn.Tanh()]
        bag = nn.Sequential(*layers, nn.Linear(5, 1))
    asked = [enodo.explain(bag.double().eval(), IDS, method, seed=s, samples=20, **options) for s in range(60)]
    spread = torch.stack([a.tensor for a in asked]).std(0)
    said = torch.stack([a.stderr for a in asked]).square().mean(0).sqrt()
    assert ((said / spread - 1).abs() < 0.35).all()
