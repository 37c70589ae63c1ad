"""What a user gives, made ready: inputs as tensors with rows, a baseline or background like the inputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.masked import MaskedTensor

from . import tree as trees
from .errors import BadType, describe, refuse
from .values import is_continuous

LEFT_OUT = "as in the input"  # an entry that a background does not have


def tensors(value: Any, argument: str) -> Any:
    """`value` with numpy arrays and lists of numbers turned into tensors; other leaves stay."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list) and _is_table(value):
        return array_of(value, argument)

    def leaf(v: Any) -> Any:
        return array_of(v, argument) if hasattr(v, "__array__") and not isinstance(v, Tensor) else v

    if isinstance(value, (tuple, list, Mapping)):
        return trees.rebuild(value, [tensors(v, argument) for _, v in trees.children(value) or ()])
    return trees.map_tree(leaf, value)


def _is_table(value: list[Any]) -> bool:
    """Whether a list (of lists) stands for an array: it holds numbers, and neither tensors nor named entries."""
    found = list(_entries(value))
    if any(isinstance(v, Tensor) or getattr(v, "ndim", 0) or trees.children(v) for v in found):
        return False
    return any(isinstance(v, (int, float, np.number)) for v in found)


def _entries(value: Any) -> Iterator[Any]:
    """What nested lists and tuples hold."""
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from _entries(v)
    else:
        yield value


def array_of(value: Any, argument: str) -> Tensor:
    """An array, or a list of numbers, as a tensor."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        refuse(argument, "an array with masked values", "a number in every place", "Write x.filled(number).", BadType)
    try:
        t = torch.as_tensor(value if isinstance(value, list) else _plain_array(value))
    except (TypeError, ValueError, RuntimeError) as error:
        refuse(argument, value, "tensors, numpy arrays or lists of numbers", _as_numbers(value, error), BadType)
    return t.to(torch.get_default_dtype()) if t.dtype == torch.float64 and isinstance(value, list) else t


def _as_numbers(value: Any, error: Exception) -> str:
    """What makes numbers that torch has of an array of others (objects, another byte order), or why nothing does."""
    if isinstance(value, list):
        return f"({error})"
    try:
        known = bool(np.isfinite(np.asarray(value, dtype=np.float64)).all())
    except (TypeError, ValueError) as closer:
        return f"({closer})"
    return ("" if known else "Fill in what is missing. ") + "Write np.asarray(x, dtype=np.float32)."


def _plain_array(value: Any) -> np.ndarray[Any, Any]:
    """An array that a tensor can share: of one turned around, or not to be written to, a copy."""
    array = np.asarray(value)
    return array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()


def plain(value: Any) -> Any:
    """A number of numpy's as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def count_rows(inputs: Any) -> int:
    """B: the first dimension, shared by all tensors of the inputs."""
    if isinstance(inputs, Tensor) and is_dense(inputs) and inputs.numel() and inputs.ndim:
        return inputs.shape[0]
    found = [(path, t) for path, t in trees.leaves(inputs) if isinstance(t, Tensor)]
    if not found:
        refuse("inputs", describe(inputs), "at least one tensor", _instead(next(_entries(inputs), None)), BadType)
    sizes: dict[int, str] = {}
    for path, t in found:
        _check_dense(t, "inputs" + trees.spell(path))
        if t.ndim:
            sizes.setdefault(len(t), "inputs" + trees.spell(path))
    if not sizes:
        refuse("inputs", "a tensor without dimensions", "rows along the first dimension", "Write x[None] for one row.")
    if len(sizes) > 1:
        given = " and ".join(f"{name} with {n}" for n, name in sizes.items())
        refuse(
            "inputs", given + " rows", "the same number of rows (first dimension) everywhere", "Expand the shorter one."
        )
    rows = next(iter(sizes))
    if rows == 0:
        refuse("inputs", describe(found[0][1]), "at least one row")
    if not any(t.numel() for _, t in found):
        refuse("inputs", describe(found[0][1]), "at least one value a row")
    return rows


def _instead(first: Any) -> str:
    """What to write in the place of inputs without a tensor, by the first thing that they hold."""
    if isinstance(first, str):
        return "Texts are explained by enodo.text.TextClassifierExplainer(model, tokenizer)(texts)."
    if hasattr(first, "getbands"):  # a picture of PIL
        return "Give a picture as the model takes it: transform(image)[None]."
    if hasattr(first, "__getitem__") or hasattr(first, "__iter__"):
        return "Give the inputs of one batch, such as next(iter(loader))[0]."
    return ""


def is_dense(t: Tensor) -> bool:
    """Whether a tensor holds its numbers one beside the other, as rows can be taken of."""
    return t.layout is torch.strided and not (t.is_nested or t.is_quantized or t.is_meta or isinstance(t, MaskedTensor))


def _check_dense(t: Tensor, name: str) -> None:
    """Refuse a tensor that does not, with what makes one that does."""
    if is_dense(t):
        return
    if t.is_meta:
        refuse(name, "a tensor on the meta device, which holds no numbers", "one on the model's device")
    if t.is_quantized:
        refuse(name, f"a quantized tensor ({t.dtype})", "floating-point numbers", "Write x.dequantize().")
    if isinstance(t, MaskedTensor):
        refuse(name, "a masked tensor", "a number in every place", "Write x.to_tensor(value).")
    kind = "nested" if t.is_nested else t.layout
    instead = "Write x.to_padded_tensor(0)." if t.is_nested else "Write x.to_dense()."
    refuse(name, f"a {kind} tensor", "a dense one", instead)


def baseline_like(baseline: Any, inputs: Any, rows: int, background: bool) -> Any:
    """A baseline for every row (or a background of R rows), in the structure of the inputs.

    None is zero, and the zero embedding for token ids; a number fills; a tensor has the shape of the input, of one row
    of it, or broadcasts to it. In a mapping, an entry left out is as in the input. A function returns any of these.
    """
    if callable(baseline):
        takes = [p for p in inspect.signature(baseline).parameters.values() if p.default is p.empty]
        baseline = baseline(inputs) if takes else baseline()
    if baseline is not None and not isinstance(baseline, Tensor):
        baseline = tensors(baseline, "baseline")
    if baseline is None or (isinstance(baseline, (Tensor, int, float)) and not isinstance(baseline, bool)):
        if isinstance(baseline, Tensor) and baseline.ndim:
            several = [p for p, t in trees.leaves(inputs) if isinstance(t, Tensor)]
            if len(several) > 1:
                refuse("baseline", baseline, f"a structure like the inputs, which have {len(several)} tensors")
        whole = trees.map_tree(lambda t: _like(baseline, t, "baseline", rows, background), inputs)
    else:
        whole = _structure(baseline, inputs, (), rows, background)
    return _same_rows(whole) if background else whole


def _structure(baseline: Any, inputs: Any, path: trees.Path, rows: int, background: bool) -> Any:
    entries = trees.children(inputs)
    if entries is None:
        return _like(baseline, inputs, "baseline" + trees.spell(path), rows, background)
    if baseline is None or isinstance(baseline, (int, float)):
        return trees.map_tree(lambda t: _like(baseline, t, "baseline" + trees.spell(path), rows, background), inputs)
    given = trees.children(baseline)
    if given is None:
        if len(entries) == 1:  # a tensor stands for a container of one
            given = [(entries[0][0], baseline)]
        else:
            refuse(
                "baseline" + trees.spell(path),
                baseline,
                f"a structure like the inputs: {describe(inputs)}",
                kind=BadType,
            )
    keys, known = dict(given), [key for key, _ in entries]
    if [k for k in keys if k not in known] or (not isinstance(inputs, Mapping) and len(given) != len(entries)):
        refuse("baseline" + trees.spell(path), f"entries {list(keys)}", f"entries like the inputs': {known}")
    absent = LEFT_OUT if background else None
    new = [_structure(keys[k], v, (*path, k), rows, background) if k in keys else absent or v for k, v in entries]
    return trees.rebuild(inputs, new)


def _like(given: Any, t: Any, name: str, rows: int, background: bool) -> Any:
    """The baseline for one input tensor."""
    if not isinstance(t, Tensor):
        return t
    if given is None:
        return torch.zeros_like(t[:1] if background else t) if is_continuous(t) else None
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        if isinstance(given, float) and not is_continuous(t) and not given.is_integer():
            refuse(name, given, "whole numbers (token ids) for an integer input")
        return torch.full_like(t[:1] if background else t, given)
    if not isinstance(given, Tensor):
        refuse(name, describe(given), "None, a number or a tensor", kind=BadType)
    _check_dense(given, name)
    if given.is_complex() and not t.is_complex():
        refuse(name, given, f"real numbers, as the input is {describe(t)}")
    if given.dtype == torch.bool != t.dtype or (is_continuous(given) and not is_continuous(t)):
        kind = "numbers" if is_continuous(t) else "token ids"
        refuse(name, given, f"a tensor of {kind}, as the input is {describe(t)}")
    given = given.to(device=t.device, dtype=t.dtype)
    row = t.shape[1:]
    if background and given.ndim == t.ndim and len(given) and given.shape[1:] == row:
        return given
    try:
        whole = given.expand(t.shape)
    except RuntimeError:
        expected = f"shape {tuple(t.shape)}, {tuple(row)} for all rows alike, or one that broadcasts"
        many = name == "baseline" and given.shape[1:] == row
        hint = "To a method that switches features off, give several rows as enodo.Absence.background(rows)."
        refuse(name, given, expected, hint if many else "")
    return whole[:1] if background and given.ndim < t.ndim else whole


def _same_rows(background: Any) -> Any:
    """Every tensor of a background with R rows; single rows are repeated."""
    counts = {len(t) for _, t in trees.leaves(background) if isinstance(t, Tensor) and t.ndim} - {1}
    if len(counts) > 1:
        refuse("baseline", f"backgrounds of {sorted(counts)} rows", "the same number of rows for every input")
    rows = next(iter(counts), 1)
    return trees.map_tree(
        lambda t: t.expand(rows, *t.shape[1:]) if isinstance(t, Tensor) and t.ndim and len(t) == 1 else t, background
    )
