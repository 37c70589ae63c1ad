"""Ablation, occlusion and permutation under Captum's names: its numbers, for all that it can be asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import captum.attr as theirs
import pytest
import torch
from torch import Tensor, nn
from torch.futures import Future
from torch.utils.data import DataLoader, TensorDataset

import enodo.captum.attr as ours
from enodo import Absence
from enodo.testing.models import CNN, MLP, normal, seeded

mlp, cnn = seeded(MLP()), seeded(CNN())
x, photo = normal(5, 6), normal(2, 2, 5, 5)
MASK = torch.tensor([[4, 4, 0, 9, 9, 2]])


def two(a: Tensor, b: Tensor, scale: Any = 1.0) -> Tensor:
    return torch.stack([(a.sum(1) * b.prod(1)) * scale, a[:, 0] + b[:, 1] ** 2], 1)


pair = (normal(4, 3), normal(4, 2, seed=1))
ids = torch.tensor([[1, 5, 3], [2, 2, 8]])


class One(nn.Module):
    """One of a model's scores."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, t: Tensor) -> Tensor:
        return self.model(t)[:, 2]


def both(name: str, fn: Any, *args: Any, layer: Any = None, **given: Any) -> Any:
    """The two answers, after checking that they are the same."""
    place = [] if layer is None else [layer]
    mine, reference = (getattr(side, name)(fn, *place).attribute(*args, **given) for side in (ours, theirs))
    assert type(mine) is type(reference)
    for a, b in zip(*((t if isinstance(t, tuple) else (t,)) for t in (mine, reference)), strict=True):
        torch.testing.assert_close(a.detach().double(), b.detach().double(), rtol=1e-6, atol=1e-6)
    return mine


@pytest.mark.parametrize("each", [1, 2, 100])
@pytest.mark.parametrize(
    "given",
    [
        {"target": 2},
        {"target": [0, 3, 1, 2, 0], "baselines": 0.3},
        {"target": 1, "baselines": normal(1, 6, seed=3), "feature_mask": MASK},
        {"target": 1, "baselines": normal(5, 6, seed=4), "feature_mask": MASK},
        {"target": torch.tensor(3), "feature_mask": torch.tensor(0)},
    ],
)
def test_feature_ablation(given: dict[str, Any], each: int) -> None:
    both("FeatureAblation", mlp, x, perturbations_per_eval=each, **given)


@pytest.mark.parametrize("mask", [None, (torch.tensor([[0, 1, 7]]), torch.tensor([[7, 3]]))])
@pytest.mark.parametrize("baselines", [None, (0.5, torch.ones(1, 2).double()), (pair[0] * 2, -1)])
def test_feature_ablation_of_several_inputs(mask: Any, baselines: Any) -> None:
    given = {"additional_forward_args": (torch.tensor([1.0, 2.0, 3.0, 4.0]),), "feature_mask": mask}
    for each in (1, 3):
        both("FeatureAblation", two, pair, baselines=baselines, target=0, perturbations_per_eval=each, **given)
    both("FeatureAblation", two, pair, target=1, feature_mask=mask)


def test_integers_are_inputs_like_others() -> None:
    def score(numbers: Tensor, scale: Tensor) -> Tensor:
        return (numbers**2).sum(1) * scale[:, 0]

    for given in ((ids, x[:2]), (ids, ids.flip(0))):
        both("FeatureAblation", score, given)
        both("FeatureAblation", score, given, baselines=(3, 1))
    both("FeatureAblation", lambda numbers: numbers.float().sum(1), ids, baselines=2)


@pytest.mark.parametrize(
    ("window", "strides"),
    [((2, 3, 3), None), ((1, 2, 2), 1), ((2, 3, 2), (2, 2, 2)), ((1, 5, 2), (1, 3, 2)), ((2, 5, 5), 4)],
)
def test_occlusion(window: Any, strides: Any) -> None:
    for each, base in ((1, None), (4, 0.2)):
        given = {"target": 1, "baselines": base, "perturbations_per_eval": each}
        both("Occlusion", cnn, photo, window, strides, **given)


def test_occlusion_of_several_inputs() -> None:
    both("Occlusion", two, pair, ((2,), (1,)), target=0)
    both("Occlusion", two, pair, ((2,), (2,)), ((1,), 1), baselines=(1.0, 0.5), target=1)


def test_layers_and_neurons() -> None:
    for each in (1, 3):
        given = {"target": 1, "perturbations_per_eval": each}
        both("LayerFeatureAblation", mlp, x, layer=mlp.act, **given)
        both("LayerFeatureAblation", mlp, x, 0.4, layer=mlp.act, **given)
        mask = torch.tensor([[3, 3, 0, 0, 0, 8, 8]])
        both("LayerFeatureAblation", mlp, x, layer=mlp.act, layer_mask=mask, attribute_to_layer_input=True, **given)
        both("NeuronFeatureAblation", mlp, x, (3,), layer=mlp.first, perturbations_per_eval=each, feature_mask=MASK)
        both("NeuronFeatureAblation", cnn, photo, (0, 2, 2), layer=cnn.again, perturbations_per_eval=each)
    both("LayerFeatureAblation", cnn, photo, normal(1, 3, 5, 5), layer=cnn.again, target=2)
    one = One(mlp).eval()
    both("LayerFeaturePermutation", one, x[:2], layer=mlp.act)  # two rows can be permuted in one way


@pytest.mark.parametrize(
    "score", [lambda t: mlp(t).sum(), lambda t: float(mlp(t)[:, 1].max()), lambda t: mlp(t).mean(0)]
)
def test_outputs_that_are_not_one_a_row(score: Any) -> None:
    found = both("FeatureAblation", score, x)
    assert found.shape[0] in (1, 4)
    both("FeatureAblation", score, x, baselines=normal(5, 6, seed=3), feature_mask=MASK)
    both("FeaturePermutation", score, x[:2])


def test_the_loss_of_a_batch() -> None:
    labels = torch.tensor([0, 1, 3, 2, 1])

    def loss(t: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(mlp(t), y)

    both("FeatureAblation", loss, x, additional_forward_args=(labels,))
    both("FeatureAblation", loss, (x,), additional_forward_args=labels, feature_mask=(MASK,))


def outcomes(attr: Any, rounds: int) -> Counter[tuple[int, ...]]:
    """Which permutations of three rows are met, by what the first feature of a linear score loses."""
    rows = torch.tensor([[1.0], [10.0], [100.0]])
    torch.manual_seed(0)
    met: Counter[tuple[int, ...]] = Counter()
    for _ in range(rounds):
        lost = attr.FeaturePermutation(lambda t: t[:, 0]).attribute(rows)
        met[tuple((rows - lost).flatten().int().tolist())] += 1
    return met


@pytest.mark.parametrize("baselines", [None, (0.5, 1)])
def test_the_loss_of_a_batch_of_several_inputs(baselines: Any) -> None:
    both("FeatureAblation", lambda a, b: two(a, b).square().mean(), pair, baselines=baselines)
    both("ShapleyValues", lambda a, b: float(two(a, b).sum()), pair, baselines=baselines)


@pytest.mark.parametrize("target", [1, (2,), [0, 3, 1, 1, 2], torch.tensor(1), torch.tensor([0, 3, 1, 1, 2])])
def test_a_permutation_of_ones_own_for_every_kind_of_target(target: Any) -> None:
    def reverse(t: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask.bool(), t.flip(0), t)

    asked = {"target": target, "feature_mask": MASK}
    mine, reference = (side.FeaturePermutation(mlp, perm_func=reverse).attribute(x, **asked) for side in (ours, theirs))
    torch.testing.assert_close(mine, reference.to(mine), rtol=1e-6, atol=1e-6)


def test_permutations_are_any_but_the_one_that_changes_nothing_equally_often() -> None:
    mine, reference = outcomes(ours, 1000), outcomes(theirs, 200)
    assert set(mine) == set(reference)
    assert len(mine) == 5
    assert all(150 < count < 250 for count in mine.values())  # 200 +- 4 standard deviations of 12.6


def test_two_rows_are_exchanged_and_a_permutation_of_ones_own_is_used() -> None:
    both("FeaturePermutation", mlp, x[:2], target=1)
    both("FeaturePermutation", mlp, x[:2], target=1, feature_mask=MASK, perturbations_per_eval=3)
    both("FeaturePermutation", two, tuple(t[:2] for t in pair), target=0)

    def turned(t: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask.bool(), t.roll(1, 0), t)

    mine, reference = (
        side.FeaturePermutation(mlp, turned).attribute(x, target=1, feature_mask=MASK) for side in (ours, theirs)
    )
    torch.testing.assert_close(mine, reference.detach())


def test_absences_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    rows = normal(7, 6, seed=9)
    found = ours.FeatureAblation(mlp).attribute(x, Absence.background(rows), target=1, show_progress=True)
    each = [theirs.FeatureAblation(mlp).attribute(x, row[None], target=1) for row in rows]
    torch.testing.assert_close(found, torch.stack(each).mean(0).detach())
    assert "row" in capsys.readouterr().err


def test_noise_tunnels_take_perturbations_along() -> None:
    mine = ours.NoiseTunnel(ours.FeatureAblation(mlp)).attribute(x, target=1, stdevs=0.0, nt_samples=2)
    torch.testing.assert_close(mine, theirs.FeatureAblation(mlp).attribute(x, target=1).detach())


def later(fn: Any) -> Any:
    def forward(*args: Any) -> Future[Tensor]:
        future: Future[Tensor] = Future()
        future.set_result(fn(*args))
        return future

    return forward


def test_models_that_answer_later() -> None:
    for name, given in (
        ("FeatureAblation", {"feature_mask": MASK, "target": 2}),
        ("FeaturePermutation", {"target": 1}),
    ):
        rows = x if name == "FeatureAblation" else x[:2]
        mine, reference = (getattr(s, name)(later(mlp)).attribute_future(rows, **given).wait() for s in (ours, theirs))
        torch.testing.assert_close(mine, reference.detach())
    with pytest.raises(Exception, match="Future"):
        ours.FeatureAblation(mlp).attribute_future(x, target=1).wait()
    for side in (ours, theirs):
        with pytest.raises(NotImplementedError):
            side.Occlusion(mlp).attribute_future()


class Server:
    """Answers when so many questions are open, the last of them first."""

    def __init__(self, at_once: int, fails: int = -1) -> None:
        self.at_once, self.fails, self.asked = at_once, fails, 0
        self.open: list[tuple[Future[Tensor], tuple[Any, ...]]] = []

    def __call__(self, *args: Any) -> Future[Tensor]:
        future: Future[Tensor] = Future()
        self.open.append((future, args))
        if len(self.open) == self.at_once:
            for number, (one, given) in reversed(list(enumerate(self.open))):
                if self.asked + number == self.fails:
                    one.set_exception(OSError("out of reach"))
                else:
                    one.set_result(mlp(*given))
            self.asked, self.open = self.asked + len(self.open), []
        return future


def test_passes_of_a_model_that_answers_later_are_sent_together() -> None:
    packed = {"target": 1, "perturbations_per_eval": 2}
    server = Server(4)  # 7 points in passes of 2: it answers nothing before the fourth
    torch.testing.assert_close(
        ours.FeatureAblation(server).attribute_future(x, **packed).wait(),
        ours.FeatureAblation(mlp).attribute(x, **packed),
    )
    assert server.asked == 4
    with pytest.raises(Exception, match="out of reach"):
        ours.FeatureAblation(Server(4, fails=2)).attribute_future(x, **packed).wait()


def accuracy(state: Any, output: Tensor, batch: Any) -> Tensor:
    right = torch.stack([(output.argmax(1) == batch[-1]).sum(), torch.tensor(len(output))]).double()
    return right if state is None else state + right


@pytest.mark.parametrize("passes", [1, 3, 50])
@pytest.mark.parametrize("shaped", [True, False])
def test_metrics_of_a_data_set(passes: int, shaped: bool) -> None:
    rows, labels = normal(11, 6), torch.arange(11) % 4
    plain, labelled = DataLoader(TensorDataset(rows), 4), DataLoader(TensorDataset(rows, labels), 4)
    ways: list[tuple[Any, dict[str, Any]]] = [
        (plain, {"to_metric": lambda out: out.mean(0)}),
        (plain, {"to_metric": lambda out: out.sum(), "baselines": (normal(1, 6, seed=2),), "feature_mask": (MASK,)}),
        (labelled, {"input_roles": (0, 2), "reduce": accuracy, "to_metric": lambda s: s[0] / s[1]}),
        (DataLoader(TensorDataset(rows), 5), {"to_metric": lambda out: out.std(0), "feature_mask": (MASK,)}),
    ]
    for loader, given in ways:
        given |= {"perturbations_per_pass": passes, "return_input_shape": shaped}
        mine, reference = (
            s.DataLoaderAttribution(s.FeatureAblation(mlp)).attribute(loader, **given) for s in (ours, theirs)
        )
        assert type(mine) is type(reference)
        for a, b in zip(*((t if isinstance(t, tuple) else (t,)) for t in (mine, reference)), strict=True):
            torch.testing.assert_close(a.double(), b.double().detach(), rtol=1e-5, atol=1e-6)
