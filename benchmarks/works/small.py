"""Models so small that the fixed cost of a call is all there is, and many neurons, layers or targets at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.work import Call, Work, bare_gradient, bare_path, frozen, gauss

LAYERS = ("stage1", "stage2", "stage3", "stage4")


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


def rows(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def tiny() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2)))


def mlp() -> nn.Module:
    """Its layer "hidden" has 128 neurons."""

    class Mlp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.relu, self.out = nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 10)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.out(self.relu(self.hidden(x)))
            return scores

    return seeded(Mlp)


def cnn() -> nn.Module:
    """Four convolutional stages on 3 x 32 x 32."""

    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (3, 16, 32, 64, 64)
            for i in range(4):
                conv = nn.Conv2d(widths[i], widths[i + 1], 3, 2 if i else 1, 1)
                setattr(self, LAYERS[i], nn.Sequential(conv, nn.BatchNorm2d(widths[i + 1]), nn.ReLU()))
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            for name in LAYERS:
                x = getattr(self, name)(x)
            scores: Tensor = self.head(x.mean((2, 3)))
            return scores

    return seeded(Cnn)


def tiny_paths() -> Work:
    x = rows(1, 10)

    def captum() -> Call:
        from captum.attr import IntegratedGradients

        model = tiny()
        return lambda: IntegratedGradients(model).attribute(x, target=1)

    def ours() -> Call:
        import enodo

        model = tiny()
        return lambda: enodo.explain(model, x, "integrated_gradients", target=1).values

    def floor() -> Call:
        model, (alphas, weights) = frozen(tiny()), gauss(50)
        return lambda: bare_path(lambda z: model(z)[:, 1], x, alphas, weights, 50)

    sides = {"enodo": ours, "captum": captum, "floor": floor}
    return Work("tiny_integrated_gradients", "integrated gradients, 50 steps, tiny MLP", sides, faster=8.0, threads=1)


def tiny_activation() -> Work:
    x = rows(1, 10)

    def captum() -> Call:
        from captum.attr import LayerActivation

        model = tiny()
        return lambda: LayerActivation(model, model[1]).attribute(x)

    def ours() -> Call:
        import enodo

        model = tiny()
        return lambda: enodo.explain(model, x, "activation", wrt="1").values

    def floor() -> Call:
        model = tiny()
        early = nn.Sequential(model[0], model[1])

        def call() -> Tensor:
            with torch.no_grad():
                values: Tensor = early(x)
            return values

        return call

    sides = {"enodo": ours, "captum": captum, "floor": floor}
    return Work("tiny_layer_activation", "layer activation, tiny MLP", sides, faster=1.0, threads=1)


def tiny_saliency() -> Work:
    x = rows(1, 10)

    def captum() -> Call:
        from captum.attr import Saliency

        model = tiny()
        return lambda: Saliency(model).attribute(x, target=1, abs=False)

    def ours() -> Call:
        import enodo

        model = tiny()
        return lambda: enodo.explain(model, x, "gradient", target=1).values

    def floor() -> Call:
        model = frozen(tiny())
        return lambda: bare_gradient(lambda z: model(z)[:, 1], x)

    sides = {"enodo": ours, "captum": captum, "floor": floor}
    return Work("tiny_saliency", "saliency, tiny MLP", sides, faster=1.0, threads=1)


def all_neurons(conductance: bool) -> Work:
    x = rows(1, 32)

    def captum() -> Call:
        from captum.attr import NeuronConductance, NeuronGradient

        model = mlp()
        if conductance:
            asked = NeuronConductance(model, model.hidden)
            return lambda: torch.stack(
                [asked.attribute(x, neuron_selector=i, target=3, method="gausslegendre") for i in range(128)]
            )
        gradient = NeuronGradient(model, model.hidden)
        return lambda: torch.stack([gradient.attribute(x, neuron_selector=i) for i in range(128)])

    def ours() -> Call:
        import enodo

        model = mlp()
        if conductance:
            return lambda: enodo.explain(model, x, "neuron_conductance", target=3, through="hidden").values
        return lambda: enodo.explain(model, x, "gradient", of="hidden", target="all").values

    name = "neuron_conductance" if conductance else "neuron_gradient"
    about = f"{name.replace('_', ' ')}, all 128 neurons of a small layer"
    return Work(name, about, {"enodo": ours, "captum": captum}, faster=15.0 if conductance else 10.0, threads=1)


def bare_conductance(model: nn.Module, x: Tensor, alphas: Tensor) -> list[Tensor]:
    """At all of LAYERS in one pass: the sum of the mean gradient of two nodes times the change of the layer between.

    From the baseline to the first node and from the last to the inputs the gradient is that of the node.
    """
    seen: dict[str, Tensor] = {}
    hooks = [
        getattr(model, name).register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
        for name in LAYERS
    ]
    path = torch.cat([alphas.new_zeros(1), alphas, alphas.new_ones(1)])
    z = (x * path.view(-1, 1, 1, 1)).requires_grad_()
    score = model(z)[1:-1, 3].sum()
    for hook in hooks:
        hook.remove()
    found = []
    for layer, g in zip(LAYERS, torch.autograd.grad(score, [seen[name] for name in LAYERS]), strict=True):
        g[0], g[-1] = g[1], g[-2]
        found.append(((g[1:] + g[:-1]) / 2 * seen[layer].detach().diff(dim=0)).sum(0, keepdim=True))
    return found


def layer_conductance() -> Work:
    x = rows(1, 3, 32, 32)

    def exact() -> list[Tensor]:
        return bare_conductance(frozen(cnn()).double(), x.double(), torch.linspace(0, 1, 4001, dtype=torch.float64))

    def captum() -> Call:
        from captum.attr import LayerConductance

        model = cnn()
        asked = [LayerConductance(model, getattr(model, name)) for name in LAYERS]
        return lambda: [one.attribute(x, target=3) for one in asked]

    def ours() -> Call:
        import enodo

        model = cnn()
        return lambda: list(enodo.explain(model, x, "conductance", wrt=list(LAYERS), target=3).values)

    def floor() -> Call:
        model, (alphas, _) = frozen(cnn()), gauss(51)
        return lambda: bare_conductance(model, x, alphas)

    about = "layer conductance, 50 steps, 4 layers of a small CNN"
    sides = {"enodo": ours, "captum": captum, "floor": floor}
    return Work("layer_conductance", about, sides, faster=3.0, exact=exact, threads=1)


def ten_targets(paths: bool) -> Work:
    build, x = (mlp, rows(1, 32)) if paths else (cnn, rows(1, 3, 32, 32))

    def captum() -> Call:
        from captum.attr import IntegratedGradients, Saliency

        model = build()
        if paths:
            return lambda: torch.stack([IntegratedGradients(model).attribute(x, target=t) for t in range(10)])
        return lambda: torch.stack([Saliency(model).attribute(x, target=t, abs=False) for t in range(10)])

    def ours() -> Call:
        import enodo

        model, method = build(), "integrated_gradients" if paths else "gradient"
        return lambda: enodo.explain(model, x, method, target="all").values

    def floor() -> Call:
        model, (alphas, weights) = frozen(build()), gauss(50)
        points = x * alphas[:, None] if paths else x
        eye = torch.eye(10)[:, None].expand(10, len(points), 10)

        def call() -> Tensor:
            z = points.detach().requires_grad_()
            (gradients,) = torch.autograd.grad(model(z), z, eye, is_grads_batched=True)
            return (gradients * weights[:, None]).sum(1, keepdim=True) * x if paths else gradients

        return call

    name = "targets_integrated_gradients" if paths else "targets_saliency"
    about = "10 targets, " + ("integrated gradients, 50 steps, small MLP" if paths else "saliency, small CNN")
    sides = {"enodo": ours, "captum": captum, "floor": floor}
    return Work(name, about, sides, faster=8.0 if paths else 1.6, threads=1)


WORKS = [
    tiny_paths(),
    tiny_activation(),
    tiny_saliency(),
    all_neurons(conductance=True),
    all_neurons(conductance=False),
    layer_conductance(),
    ten_targets(paths=True),
    ten_targets(paths=False),
]
