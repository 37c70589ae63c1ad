"""Conductance and internal influence: Dhamdhere et al. 2018, equations 2 and 3; Leino et al. 2018, definition 1."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo import BadArgument
from tests.methods.models import Mlp, Squares, Toy, published_inputs, tensor, uniform

W = Squares.WEIGHT


def ends() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, x0 and the hidden values there."""
    x, x0 = uniform(4, 3), uniform(4, 3, seed=9)
    return x, x0, x @ W.T, x0 @ W.T


class Cubed(nn.Module):
    """h = x^2, score = sum h^2: the line of the inputs is a parabola at h."""

    def __init__(self) -> None:
        super().__init__()
        self.square = nn.Identity()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.square(x**2).square().sum(1)


class TestLayerConductance:
    def test_by_hand(self):
        """score = 3 h_0 + h_1^2: 3 (h_0 - h0_0) for the first unit, h_1^2 - h0_1^2 for the second."""
        x, x0, h, h0 = ends()
        wanted = torch.stack([3 * (h - h0)[:, 0], (h**2 - h0**2)[:, 1]], 1)
        got = tensor(Squares(), x, "conductance", baseline=x0, wrt="hidden", steps=200)
        torch.testing.assert_close(got, wanted, atol=1e-3, rtol=0)

    @pytest.mark.parametrize("one_sided", [False, True])
    def test_the_sum_over_nodes_is_the_one_it_says(self, one_sided):
        """The sum over j of slope_j (h(alpha_j+1) - h(alpha_j)): that of the first node; or the mean, and the ends."""
        x, steps = torch.tensor([[2.0]], dtype=torch.float64), 10
        h = (torch.arange(steps + 1, dtype=torch.float64) / (steps + 1) * 2) ** 2  # riemann_left of 11 nodes
        slope = 2 * h[:-1] if one_sided else h[:-1] + h[1:]
        options = {"steps": steps, "quadrature": "riemann_left", "one_sided": one_sided}
        for batch_size in (1, 4, "auto"):
            got = tensor(Cubed(), x, "conductance", wrt="square", batch_size=batch_size, **options)
            end = 0 if one_sided else 2 * h[-1] * (4 - h[-1])
            torch.testing.assert_close(got[0, 0], (slope * h.diff()).sum() + end)

    @pytest.mark.parametrize("layer", ["first", "act1", "second", "act2"])
    @pytest.mark.parametrize(("one_sided", "order"), [(False, 4), (True, 2)])
    def test_every_layer_carries_the_whole_change(self, layer, one_sided, order):
        """sum_j a_j = f(x) - f(x0); twice the steps leave a quarter of the gap, half of it if one-sided."""
        model, x = Mlp(4), uniform(3, 4)
        total = [
            enodo.explain(model, x, "conductance", target=1, wrt=layer, steps=n, one_sided=one_sided).delta
            for n in (100, 200)
        ]
        assert total[1].abs().max() < (0.02 if one_sided else 2e-4)
        if layer == "act2" and not one_sided:  # the score is linear there, its gradient the same everywhere
            assert total[1].abs().max() < 1e-12
        elif layer != "act2":
            assert (total[0].norm() / total[1].norm()).item() == pytest.approx(order, rel=0.1)

    def test_the_gap_is_reported(self):
        model, x = Mlp(4), uniform(3, 4)
        got = enodo.explain(model, x, "conductance", target=1, wrt="act1", steps=5)
        change = (model(x) - model(torch.zeros_like(x)))[:, 1].detach()
        torch.testing.assert_close(got.delta, got.sum(1) - change, atol=1e-12, rtol=0)
        assert got.delta.abs().max() > 1e-3

    def test_published_the_conductance_of_an_identity_layer_tends_to_integrated_gradients(self):
        x = published_inputs()
        wanted = torch.tensor([[0.8883, 1.5497, 0.7550], [2.0657, 0.2219, 2.5996]])
        options = {"wrt": "lin1", "one_sided": True}
        far = [(tensor(Toy(), x, "conductance", steps=n, **options) - wanted).abs().max().item() for n in (5, 25, 125)]
        assert far[0] > far[1] > far[2]
        assert far[2] < 2e-2
        assert (
            tensor(Toy(), x, "conductance", wrt="lin1", steps=5) - wanted
        ).abs().max() < 5e-5  # what print rounds off

    def test_at_the_inputs_it_tends_to_integrated_gradients(self):
        model, x = Mlp(4), uniform(3, 4)
        fine = tensor(model, x, "conductance", target=0, steps=300)
        torch.testing.assert_close(fine, tensor(model, x, "integrated_gradients", target=0), atol=1e-4, rtol=0)

    def test_it_follows_the_inputs_and_not_the_straight_line_of_the_layer(self):
        """h_i = relu(x_i - 1) and score = h_0 h_1 with h_1 late: the two paths differ, and so do the shares."""

        class Late(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gate = nn.Identity()
                self.eval()

            def forward(self, x: Tensor) -> Tensor:
                return self.gate(torch.stack([x[:, 0], torch.relu(x[:, 1] - 1)], 1)).prod(1)

        x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
        # h = (alpha, relu(2 alpha - 1)): integral of h_1 dh_0 = 1/4, of h_0 dh_1 = 3/4; the straight line: 1/2 each
        curved = tensor(Late(), x, "conductance", wrt="gate", steps=300)
        torch.testing.assert_close(curved, torch.tensor([[0.25, 0.75]], dtype=torch.float64), atol=1e-3, rtol=0)
        straight = tensor(Late(), x, "integrated_gradients", wrt="gate")
        torch.testing.assert_close(straight, torch.tensor([[0.5, 0.5]], dtype=torch.float64))

    def test_several_layers_in_one_pass(self):
        model, x = Mlp(4), uniform(3, 4)
        got = enodo.explain(model, x, "conductance", target=1, wrt=["first", "act2"], steps=20)
        alone = [enodo.explain(model, x, "conductance", target=1, wrt=w, steps=20) for w in ("first", "act2")]
        assert isinstance(got.values, tuple)
        for one, other in zip(got.values, alone, strict=True):
            torch.testing.assert_close(one, other.tensor, atol=1e-14, rtol=0)
        assert got.rows < sum(a.rows for a in alone)


class TestInternalInfluence:
    def test_by_hand(self):
        """score = 3 h_0 + h_1^2: the mean gradient is (3, h_1 + h0_1)."""
        x, x0, h, h0 = ends()
        wanted = torch.stack([torch.full((4,), 3.0, dtype=torch.float64), (h + h0)[:, 1]], 1)
        got = tensor(Squares(), x, "internal_influence", baseline=x0, wrt="hidden", steps=1)
        torch.testing.assert_close(got, wanted)

    def test_on_a_bent_path(self):
        """h = x^2 and score = h^2: the mean of 2 (alpha x)^2 over alpha is 2 x^2 / 3."""
        x = uniform(4, 2)
        got = tensor(Cubed(), x, "internal_influence", wrt="square", steps=2)
        torch.testing.assert_close(got, 2 * x**2 / 3)

    def test_at_the_inputs_it_is_integrated_gradients_without_the_product(self):
        model, x = Mlp(4), uniform(3, 4)
        got = tensor(model, x, "internal_influence", target=2)
        wanted = tensor(model, x, "integrated_gradients", target=2, multiply=False)
        torch.testing.assert_close(got, wanted, atol=1e-14, rtol=0)


class TestNeuronConductance:
    def test_by_hand(self):
        """Through h_1, of score 3 h_0 + h_1^2: (x_i - x0_i) W_1i (h_1 + h0_1); through h_0: (x_i - x0_i) 3 W_0i."""
        x, x0, h, h0 = ends()
        for neuron, slope in ((0, torch.full((4,), 3.0, dtype=torch.float64)), (1, (h + h0)[:, 1])):
            got = tensor(Squares(), x, "neuron_conductance", baseline=x0, through="hidden", neuron=neuron, steps=1)
            torch.testing.assert_close(got, (x - x0) * W[neuron] * slope[:, None])

    def test_the_published_toy_result(self):
        """Exact is x: one unit of weights 1, on all the way. Published is 49/50 of it, as the weights of the 50-node
        trapezoid that made it summed to 49/50."""
        x = published_inputs()
        got = tensor(Toy(), x, "neuron_conductance", through="lin2", neuron=3)
        torch.testing.assert_close(got, x)
        published = torch.tensor([[0.2902, 0.5062, 0.2466], [0.6748, 0.0725, 0.8492]])
        torch.testing.assert_close(got * 49 / 50, published, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("layer", ["first", "act1", "second", "act2"])
    def test_all_neurons_together_are_integrated_gradients(self, layer):
        """Every path to the score runs through the layer once."""
        model, x, x0 = Mlp(4), uniform(3, 4), uniform(3, 4, seed=5)
        whole = tensor(model, x, "integrated_gradients", target=1, baseline=x0, steps=9)
        parts = tensor(model, x, "neuron_conductance", target=1, baseline=x0, through=layer, steps=9)
        assert parts.shape == (6 if layer in ("first", "act1") else 5, 3, 4)
        torch.testing.assert_close(parts.sum(0), whole, atol=1e-13, rtol=0)

    def test_the_sum_over_inputs_is_the_conductance_of_the_neuron(self):
        """Equation 3 is equation 2 summed over the inputs."""
        model, x = Mlp(4), uniform(3, 4)
        neurons = tensor(model, x, "neuron_conductance", target=1, through="act1").sum(-1).T
        layer = tensor(model, x, "conductance", target=1, wrt="act1", steps=300)
        torch.testing.assert_close(neurons, layer, atol=1e-4, rtol=0)

    def test_neurons_are_spelt_like_targets(self):
        model, x = Mlp(4), uniform(3, 4)
        options = {"target": 1, "through": "act1", "steps": 5}
        every = tensor(model, x, "neuron_conductance", neuron="all", **options)
        for neuron in (0, 5, -1, (2,)):
            index = neuron[0] if isinstance(neuron, tuple) else neuron
            one = tensor(model, x, "neuron_conductance", neuron=neuron, **options)
            torch.testing.assert_close(one, every[index], atol=1e-14, rtol=0)
        box = tensor(model, x, "neuron_conductance", neuron=(slice(1, 4),), **options)
        torch.testing.assert_close(box, every[1:4].sum(0), atol=1e-14, rtol=0)
        own = tensor(model, x, "neuron_conductance", neuron=[4, 0, 2], **options)
        torch.testing.assert_close(own, torch.stack([every[n, b] for b, n in enumerate((4, 0, 2))]), atol=1e-14, rtol=0)

    def test_a_neuron_of_an_image(self):
        """A unit (channel, row, column) of a convolution sees its own window only."""
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(18, 1)).double().eval()
        x = uniform(2, 1, 5, 5)
        got = tensor(model, x, "neuron_conductance", through="1", neuron=(1, 0, 2))
        assert got[:, :, :3, 2:].abs().min() > 0
        assert got[:, :, 3:].abs().max() == 0
        assert got[:, :, :, :2].abs().max() == 0

    def test_errors(self):
        model, x = Mlp(4), uniform(3, 4)
        with pytest.raises(BadArgument, match="through"):
            enodo.explain(model, x, "neuron_conductance", target=1, through="act9", neuron=0)
        with pytest.raises(BadArgument, match="99"):
            enodo.explain(model, x, "neuron_conductance", target=1, through="act1", neuron=99)
        with pytest.raises(BadArgument, match="through"):
            enodo.explain(model, x, "neuron_conductance", target=1)


def test_several_layers_have_no_gap_in_common():
    """Each of them carries the whole change, so that their sum says nothing."""
    model, x = Mlp(4), uniform(3, 4)
    assert enodo.explain(model, x, "conductance", target=1, wrt=["first", "act2"]).delta is None
    assert enodo.explain(model, x, "conductance", target=1, wrt="act2").delta is not None


@pytest.mark.parametrize("batch_size", ["auto", 2, 5])
def test_the_pass_that_ends_at_the_inputs_tells_all_that_is_known_of_them(batch_size):
    found = enodo.explain(
        Mlp(), uniform(2, 4), "conductance", wrt=["first", "act2"], target=1, steps=4, batch_size=batch_size
    )
    assert found.rows == 2 * (4 + 1 + 2)
    alone = enodo.explain(Mlp(), uniform(2, 4), "conductance", wrt="act2", target=1, steps=4)
    torch.testing.assert_close(found.values[1], alone.tensor)


def test_a_layer_that_runs_again_is_noted_without_a_pass_for_it():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x).tanh())

    found = enodo.explain(Twice().double().eval(), uniform(2, 3), "conductance", wrt="layer", target=0, steps=3)
    assert found.rows == 2 * (3 + 1 + 2)
    assert any("ran 2 times" in note for note in found.notes)
