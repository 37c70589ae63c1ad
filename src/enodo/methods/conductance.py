"""What flows through a layer or a neuron on the way from the baseline to the inputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .path import MAX_STEPS, check_steps, line, nodes, nodes_and_ends, settle, sizes_up_to, weighted_sum
from .stieltjes import stieltjes


@method(
    "conductance",
    title="Layer conductance",
    paper="Dhamdhere et al. 2018, arXiv:1805.12233, section 3; Shrikumar et al. 2018, arXiv:1807.09946",
    when="Which units of a layer carried the change of the score: integrated gradients through a layer.",
    needs="gradient score baseline",
    claims="completeness each",
)
def conductance(
    q: Question,
    *,
    steps: int = 50,
    quadrature: str = "gausslegendre",
    tol: float | None = None,
    max_steps: int = MAX_STEPS,
    one_sided: bool = False,
) -> Values:
    """The part of f(x) - f(x0) that flows through each unit of a layer, as the inputs move along the straight path.

    a_j = integral of df/dh_j dh_j, the h_j being the values at `wrt` while the inputs go from x0 to x; as a sum over
    steps + 1 nodes, and the ends of the path, of the change of h from one to the next times the mean gradient of the
    two: on smooth models the error falls with the square of the steps. `one_sided` leaves out the ends and takes the
    gradient of the first node of each pair, an error that falls with the steps. At the inputs it is integrated
    gradients. Options as there; with `tol`, the steps are doubled.
    """
    if tol is None:
        check_steps(steps)
        return _stieltjes(q, steps, quadrature, one_sided)
    sizes = sizes_up_to(max_steps)

    def attempt(part: Question, rows: Tensor, level: int, state: list[Values]) -> tuple[Values, list[Values]]:
        return _stieltjes(part, sizes[level] - 1, quadrature, one_sided), []

    return settle(q, tol, sizes, attempt)


def _stieltjes(q: Question, steps: int, quadrature: str, one_sided: bool) -> Values:
    """The sum over the path of the change of h from each node to the next, times the gradient there.

    Unless one-sided, the ends of the path are nodes as well, but for their gradients.
    """
    alphas, _ = (nodes if one_sided else nodes_and_ends)(quadrature, steps + 1)
    blocks = q.seen(len(alphas), line(q.entry_x0, q.entry_x, alphas), ends=not one_sided)
    return stieltjes(blocks, len(alphas), one_sided)


@method(
    "internal_influence",
    title="Internal influence",
    paper="Leino et al. 2018, arXiv:1802.03788, definition 1",
    when="Which units of a layer the score is sensitive to on average between baseline and input.",
    needs="gradient score baseline",
)
def internal_influence(
    q: Question,
    *,
    steps: int = 50,
    quadrature: str = "gausslegendre",
    tol: float | None = None,
    max_steps: int = MAX_STEPS,
) -> Values:
    """The gradient of the score with respect to a layer, averaged while the inputs go from the baseline to x.

    a_j = integral over [0, 1] of df/dh_j at x0 + alpha (x - x0) dalpha, in units of score per unit of h. Options as in
    `integrated_gradients`; with `tol`, the steps are doubled.
    """

    def influence(part: Question, size: int) -> Values:
        alphas, weights = nodes(quadrature, size)
        points = line(part.entry_x0, part.entry_x, alphas)
        return weighted_sum(((i, j, g) for i, j, (_, g) in part.seen(len(alphas), points)), weights)

    if tol is None:
        check_steps(steps)
        return influence(q, steps)
    sizes = sizes_up_to(max_steps)
    return settle(q, tol, sizes, lambda part, rows, level, state: (influence(part, sizes[level]), []))


@method(
    "neuron_conductance",
    title="Neuron conductance",
    paper="Dhamdhere et al. 2018, arXiv:1805.12233, equation 2",
    when="Which inputs acted on the score through one neuron, or through each of many at once.",
    needs="gradient score baseline",
)
def neuron_conductance(
    q: Question,
    *,
    through: Any,
    neuron: Any = "all",
    steps: int = 50,
    quadrature: str = "gausslegendre",
    tol: float | None = None,
    max_steps: int = MAX_STEPS,
    multiply: bool = True,
) -> Values:
    """The part of each input's integrated gradient that flows through a neuron.

    a_i = (x_i - x0_i) * integral over [0, 1] of df/dh_j dh_j/dx_i dalpha, for the neuron h_j that `neuron` selects (in
    the spelling of targets: an index, a tuple, slices, "all" ...) at the layer `through`. Several neurons lead the
    result with a dimension N. Other options as in `integrated_gradients`; with `tol`, the steps are doubled.
    """
    x, x0 = q.x, q.x0

    def flow(part: Question, rows: Tensor | None, size: int) -> Values:
        here, there = (v if rows is None else v.map(lambda t: t[rows.to(t.device)]) for v in (x, x0))
        alphas, weights = nodes(quadrature, size)
        stream = part.flows(len(alphas), line(there, here, alphas), through, neuron)
        flown = weighted_sum(stream, weights)
        return flown * (here - there) if multiply else flown

    if tol is None:
        check_steps(steps)
        return flow(q, None, steps)
    sizes = sizes_up_to(max_steps)
    return settle(q, tol, sizes, lambda part, rows, level, state: (flow(part, rows, sizes[level]), []))
