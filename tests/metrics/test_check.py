"""`Attribution.check`: what it says is so, in words that fit the numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import enodo
from enodo import Each
from enodo.core.errors import BadArgument
from enodo.metrics import check
from enodo.testing.models import MLP, Text, seeded

WEIGHTS = torch.tensor([3.0, -2.0, 1.0, 0.5, 0.0, 4.0], dtype=torch.float64)
x = torch.tensor([[1.0, 1, 1, 1, 1, 1], [2, 1, -3, 0, 1, -1]], dtype=torch.float64)


def linear(x: Tensor) -> Tensor:
    return x @ WEIGHTS.to(x) + 7


def test_an_exact_attribution_is_told_to_be_one() -> None:
    found = enodo.explain(linear, x[:1]).check(linear, x[:1])
    assert {f.about: f.speaks_for for f in found.findings} == {
        "score": None, "completeness": True, "deletion": True, "insertion": True,
    }  # fmt: skip
    told = str(found)
    assert "The model still gives the score that was explained: 13.5." in told
    assert "+ The parts add up to the change of the score (6.5) but for " in told
    assert "but for none of it." in told
    mean, spread = found["deletion"].numbers["control"].mean(), found["deletion"].numbers["control"].std()
    area = found.curves.deletion.area.item()
    assert f"the score is {area:.3g} on average along the way; in random order {mean:.3g} \u00b1 {spread:.3g}" in told
    assert "That is better than all 10 random orders." in found["insertion"].text


@pytest.mark.parametrize("method", ["kernel_shap", "exact_shapley", "shapley_sampling", "owen", "shapley_interactions"])
def test_shapley_values_are_told_to_add_up_and_not_to_be_drawn_where_they_are_not(method: str) -> None:
    answer = enodo.explain(linear, x, method)
    torch.testing.assert_close(answer.baseline_scores, torch.full((2,), 7, dtype=torch.float64))
    found = answer.check(linear, x)
    assert found["completeness"].speaks_for is True
    assert "of it, in the worst row." in found["completeness"].text
    assert not any(f.about == "sampling" for f in found.findings)


def test_how_well_samples_are_known_is_told() -> None:
    fit = enodo.explain(linear, x, "kernel_shap", tol=0.1).check(linear, x)
    assert fit["settling"].text == "Nothing was left to chance."
    sampled = enodo.explain(lambda t: linear(t).sin(), x, "kernel_shap", tol=0.9, max_evaluations=50)
    assert "The 95 % interval of each value is at most" in sampled.check(lambda t: linear(t).sin(), x)["settling"].text


def test_a_reversed_attribution_is_told_to_be_no_better_than_chance() -> None:
    turned = enodo.explain(linear, x)
    turned.values = -turned.values
    found = turned.check(linear, x)
    assert found["deletion"].speaks_for is False
    alone = enodo.explain(linear, x[:1])
    alone.values = -alone.values
    assert "better than 0 of 10 random orders: do not rely" in alone.check(linear, x[:1])["deletion"].text
    assert "Better than all 10 random orders in 0 of 2, no better than most of them in 2." in found["deletion"].text


def test_another_model_or_input_is_noticed() -> None:
    made = enodo.explain(linear, x)
    assert made.check(lambda x: linear(x) + 1, x)["score"].speaks_for is False
    assert made.check(linear, x + 1)["score"].text.endswith("the model, the inputs or the target are other ones.")
    assert made.check(linear, x)["score"].speaks_for is None


def test_gaps_noise_and_emptiness_are_told() -> None:
    model = seeded(MLP())
    rough = enodo.explain(model, x, target=1, steps=1)
    gap = rough.check(model, x)["completeness"]
    share = (rough.delta / (rough.scores - rough.baseline_scores)).abs().max()
    assert gap.speaks_for is (share <= 0.05).item()
    assert gap.numbers["share"].max() == pytest.approx(share.item())
    drawn = enodo.explain(model, x, "smoothgrad", target=1, samples=4).check(model, x)
    assert "standard error of a typical value" in drawn["sampling"].text
    assert "does not promise" in drawn["completeness"].text
    settled = enodo.explain(model, x, target=1, tol=1e-3).check(model, x)
    assert settled["settling"].speaks_for
    zero = enodo.explain(lambda x: linear(x * 0), x).check(lambda x: linear(x * 0), x)
    assert "Every value is zero" in zero["emptiness"].text
    assert zero.curves is None


def test_a_gap_where_the_score_did_not_change_is_all_of_it() -> None:
    made = enodo.explain(lambda x: linear(x * 0), x)
    made.delta = torch.tensor([0.0, 0.5])
    assert "but for all of it, in the worst row." in made.check(lambda x: linear(x * 0), x)["completeness"].text


def test_it_stands_beside_other_methods() -> None:
    made, other = enodo.explain(linear, x), enodo.explain(linear, x, "gradient")
    found = made.check(linear, x, made, other)
    assert found["agreement with integrated_gradients"].speaks_for
    assert "rank correlation +1.00" in found["agreement with integrated_gradients"].text
    assert len(found.agreements) == 2
    with pytest.raises(BadArgument, match="one of score, completeness"):
        found["agreement with lime"]


@pytest.mark.parametrize("target", ["predicted", 2, [0, 3], "all", Each([1, "predicted"])])
def test_the_target_is_known_from_the_result(target, tmp_path) -> None:
    model = seeded(MLP())
    made = enodo.explain(model, x, target=target)
    assert made.check(model, x)["score"].speaks_for is None
    made.save(tmp_path / "a")
    assert enodo.load(tmp_path / "a").check(model, x)["score"].speaks_for is None


def test_a_target_of_several_dimensions_and_one_that_must_be_given() -> None:
    def dense(x: Tensor) -> Tensor:
        return x[:, None, :] * WEIGHTS.view(1, 1, 6) + torch.arange(2.0).view(1, 2, 1)

    assert enodo.explain(dense, x, target=(1, 2)).check(dense, x)["score"].speaks_for is None
    assert enodo.explain(dense, x, target=[(1, 2), (0, 5)]).check(dense, x)["score"].speaks_for is None
    made = enodo.explain(dense, x, target=lambda out: out[:, 0, 1])
    with pytest.raises(BadArgument, match="target: got an attribution that knows its target only as '<lambda>'"):
        made.check(dense, x)
    assert made.check(dense, x, target=lambda out: out[:, 0, 1])["score"].speaks_for is None


def test_layers_and_tokens_are_checked_where_they_were_asked_about() -> None:
    model, ids = seeded(Text()), torch.tensor([[1, 2, 3], [4, 5, 0]])
    words = enodo.explain(model, ids, target=1).check(model, ids, batch_size=1)
    assert words.curves.deletion.scores.shape == (2, 4)
    mlp = seeded(MLP())
    layers = enodo.explain(mlp, x, "conductance", target=1, wrt=["first", "second"]).check(mlp, x)
    assert torch.allclose(layers.curves.deletion.scores[:, 0], mlp(x)[:, 1])


def test_no_pass_is_larger_than_asked() -> None:
    rows: list[int] = []

    def counting(x: Tensor) -> Tensor:
        rows.append(len(x))
        return linear(x)

    made = enodo.explain(linear, x)
    check(made, counting, x, batch_size=1)
    assert set(rows) == {1}


def test_what_is_no_attribution_is_refused() -> None:
    with pytest.raises(BadArgument, match="attribution: got a float64 tensor"):
        check(x, linear, x)


def test_values_that_pass_through_numbers_of_python_are_told_where_the_gap_is_large():
    def read(t):  # sum(x) * sum(x), of which the second factor is a number to autograd
        return t.sum(1) * torch.tensor([row.sum().item() for row in t], dtype=t.dtype)

    x = torch.arange(1.0, 9.0, dtype=torch.float64).view(2, 4)
    why = enodo.explain(read, x)
    torch.testing.assert_close(why.delta, -read(x) / 2)  # the mean of the number along the way is half of it
    said = why.check(read, x)["completeness"]
    assert said.speaks_for is False
    assert "enodo.audit(model, inputs)" in said.text
    assert any(row["kind"] == "detached" for row in enodo.audit(read, x).rows())
