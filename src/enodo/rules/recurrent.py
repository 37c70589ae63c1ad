"""Recurrent layers, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.tables import Decompose, Treatment

State = tuple[Tensor, ...]
Cell = Callable[..., State]


def _lstm_cell(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    h, c = state
    w_ih, w_hh, b_ih, b_hh, *projection = weights
    i, f, g, o = (F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh)).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (F.linear(h, projection[0]) if projection else h), c


def _gru_cell(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    (h,) = state
    w_ih, w_hh, b_ih, b_hh = weights
    r, z, n = F.linear(x, w_ih, b_ih).chunk(3, 1)
    hr, hz, hn = F.linear(h, w_hh, b_hh).chunk(3, 1)
    z, n = torch.sigmoid(z + hz), torch.tanh(n + torch.sigmoid(r + hr) * hn)
    return (n + z * (h - n),)


def _rnn_cell(activation: Callable[[Tensor], Tensor]) -> Cell:
    def cell(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
        w_ih, w_hh, b_ih, b_hh = weights
        return (activation(F.linear(x, w_ih, b_ih) + F.linear(state[0], w_hh, b_hh)),)

    return cell


def _sweep(cell: Cell, steps: list[Tensor], start: State, weights: Sequence[Tensor]) -> tuple[list[Tensor], State]:
    """The cell run over steps (rows, features), whose rows may become fewer (forwards) or more (backwards)."""
    outputs: list[Tensor] = []
    ended: list[State] = []  # states of the rows that ended before the last step
    state = tuple(s[: len(steps[0])] for s in start)
    for x in steps:
        rows = len(x)
        if rows < len(state[0]):
            ended.append(tuple(s[rows:] for s in state))
            state = tuple(s[:rows] for s in state)
        elif rows > len(state[0]):
            state = tuple(torch.cat([s, s0[len(s) : rows]]) for s, s0 in zip(state, start, strict=True))
        state = cell(x, state, weights)
        outputs.append(state[0])
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return outputs, state


def _layers(
    cell: Cell,
    steps: list[Tensor],
    start: State,
    weights: Any,
    biases: bool,
    layers: int,
    directions: int,
    dropout: float,
) -> tuple[list[Tensor], State]:
    size = len(weights) // (layers * directions)
    finals: list[State] = []
    for layer in range(layers):
        ways: list[list[Tensor]] = []
        for way in range(directions):
            k = layer * directions + way
            own = list(weights[k * size : (k + 1) * size])
            if not biases:
                own[2:2] = [None, None]
            found, final = _sweep(cell, steps[::-1] if way else steps, tuple(s[k] for s in start), own)
            ways.append(found[::-1] if way else found)
            finals.append(final)
        steps = [torch.cat(both, 1) for both in zip(*ways, strict=True)] if directions > 1 else ways[0]
        if dropout and layer < layers - 1:
            steps = [F.dropout(s, dropout) for s in steps]
    return steps, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def _network(cell: Cell) -> Decompose:
    """nn.LSTM, nn.GRU, nn.RNN as torch calls them, with sequences of equal length or packed ones."""

    def run(data: Tensor, *args: Any) -> tuple[Tensor, ...]:
        packed = isinstance(args[2], (list, tuple))
        sizes, hx, weights, biases, layers, dropout, train, both, *rest = args if packed else (None, *args)
        start = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
        batch_first = bool(rest and rest[0])
        steps = list(data.split(sizes.tolist())) if packed else list(data.unbind(1 if batch_first else 0))
        drop = dropout if train else 0.0
        found, final = _layers(cell, steps, start, weights, biases, layers, 1 + bool(both), drop)
        out = torch.cat(found) if packed else torch.stack(found, 1 if batch_first else 0)
        return (out, *final)

    return Decompose(run)


def _single(cell: Cell) -> Decompose:
    def run(x: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None) -> Any:
        found = cell(x, tuple(hx) if isinstance(hx, (tuple, list)) else (hx,), (w_ih, w_hh, b_ih, b_hh))
        return found if len(found) > 1 else found[0]

    return Decompose(run)


CELLS = {"lstm": _lstm_cell, "gru": _gru_cell, "rnn_tanh": _rnn_cell(torch.tanh), "rnn_relu": _rnn_cell(torch.relu)}
RECURRENT: dict[str, Treatment] = {
    **{name: _network(cell) for name, cell in CELLS.items()},
    **{f"{name}_cell": _single(cell) for name, cell in CELLS.items()},
}
