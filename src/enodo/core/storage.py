"""Attributions in files: tensors as safetensors, everything else as JSON in the same file's header. Never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import tree as trees
from .errors import BadArgument, refuse
from .result import PLAIN, TENSORS, TREES, Attribution

FORMAT = 1  # raised when a file could no longer be read by the version before

# What a file may hold there: what reads an Attribution relies on these.
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("method", "wrt", "of", "model"), str),
    **dict.fromkeys(("options", "versions", "details"), dict),
    **dict.fromkeys(TENSORS, (Tensor, NoneType)),
    **dict.fromkeys(("seed", "batch_size"), (int, NoneType)),
    "seconds": (int, float),
    "rows": int,
    "notes": list,
    **dict.fromkeys(("feature_names", "class_names", "tokens", "texts"), (list, NoneType)),
}
_NAME = (str, int, float)
_WITHIN: dict[str, Any] = {  # those lists
    "notes": str,
    "feature_names": _NAME,
    "class_names": _NAME,
    "tokens": list,
    "texts": dict,
}


def save(attribution: Attribution, path: str | Path) -> None:
    """Write an Attribution; options that JSON cannot hold are kept as text."""
    tensors: dict[str, Tensor] = {}
    header: dict[str, Any] = {"format": FORMAT}
    for name in (*TREES, *TENSORS, "details"):
        header[name] = _pack(getattr(attribution, name), name, tensors)
    for name in PLAIN:
        value = getattr(attribution, name)
        if name in _WITHIN and value is not None and not isinstance(value, (str, Mapping)):
            value = list(map(str, value) if _WITHIN[name] is _NAME else value)  # names may be the columns of a table
        header[name] = value
        try:
            _check(name, value)
        except TypeError as error:
            refuse("attribution", str(error), "labels in lists")
    header["options"] = _with_names(header["options"])
    try:
        save_file(tensors, str(path), metadata={"enodo": json.dumps(header, default=str)})
    except (SafetensorError, OSError) as error:
        refuse("path", f"{path}, where nothing can be written ({error})", "a file in a folder that exists")


def _with_names(options: Any) -> Any:
    """Options whose mappings have names for keys: rules are given for functions, modules and types."""
    if not isinstance(options, Mapping):
        return options
    return {
        key if isinstance(key, str) else str(getattr(key, "__name__", key)): _with_names(value)
        for key, value in options.items()
    }


def load(path: str | Path) -> Attribution:
    """Read an Attribution; fields of later versions are left out with a note."""
    path = Path(path)
    if not path.is_file():
        refuse("path", str(path), "a file written by Attribution.save")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        header = json.loads(metadata["enodo"])
        version = int(header.pop("format"))
    except (
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        OSError,
        RecursionError,
        AttributeError,
    ) as error:
        raise BadArgument(
            "path", f"{path}, which cannot be read ({error})", "a file written by Attribution.save"
        ) from None
    if version > FORMAT:
        refuse("path", f"{path} in format {version}", f"format {FORMAT} or older", "It was written by a newer enodo.")
    found: dict[str, Any] = {}
    try:
        for name in (*TREES, *TENSORS):
            found[name] = _unpack(header.pop(name), tensors)
        found |= {name: header.pop(name) for name in PLAIN if name in header}
        if "details" in header:  # files of the first version have none
            found["details"] = _unpack(header.pop("details"), tensors)
        for name in found:
            _check(name, found[name])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise BadArgument(
            "path", f"{path}, whose header is damaged ({error})", "a file written by Attribution.save"
        ) from None
    if header:
        found.setdefault("notes", []).append(f"The file has fields of a later version, left out: {', '.join(header)}.")
    return Attribution(**found)


def _check(name: str, value: Any) -> None:
    """Raise TypeError where a field holds what readers of an Attribution would stumble over."""
    if name in _KINDS and not isinstance(value, _KINDS[name]):
        raise TypeError(f"{name} of type {type(value).__name__}")
    for entry in value or () if name in _WITHIN else ():
        if not isinstance(entry, _WITHIN[name]):
            raise TypeError(f"{name} with an entry of type {type(entry).__name__}")


def _pack(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A JSON description of a tree, its tensors put into `tensors`."""
    if isinstance(tree, Tensor):
        while name in tensors:  # keys may have dots themselves
            name += "'"
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"tensor": name}
    entries = trees.children(tree)
    if entries is None:
        return {"none": True}
    kind = "mapping" if isinstance(tree, Mapping) else "sequence" if isinstance(tree, (tuple, list)) else "mapping"
    return {kind: [[k if isinstance(k, int) else str(k), _pack(v, f"{name}.{k}", tensors)] for k, v in entries]}


def _unpack(spec: Any, tensors: dict[str, Tensor]) -> Any:
    if "tensor" in spec:
        return tensors[spec["tensor"]]
    if "mapping" in spec:
        return {k: _unpack(v, tensors) for k, v in spec["mapping"]}
    if "sequence" in spec:
        return tuple(_unpack(v, tensors) for _, v in spec["sequence"])
    if spec == {"none": True}:
        return None
    raise ValueError(f"unknown entry {str(spec)[:40]}")


def table(attribution: Attribution) -> Any:
    """A pandas DataFrame with one line a value."""
    import pandas as pd

    frames = []
    many = attribution.scores is not None and attribution.scores.ndim > 1
    for path, t in trees.leaves(attribution.values):
        if not isinstance(t, Tensor):
            continue
        names = (["target"] if many else []) + ["row"] + [f"dim{i}" for i in range(t.ndim - 1 - many)]
        where = torch.cartesian_prod(*map(torch.arange, t.shape)).reshape(-1, t.ndim).numpy()
        frame = pd.DataFrame(where, columns=names)
        frame.insert(0, "place", attribution.wrt + trees.spell(path))
        labels = _labels(attribution, t, where, many)
        if labels is not None:
            frame["feature"] = labels
        frame["attribution"] = t.detach().cpu().double().flatten().numpy()
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _labels(attribution: Attribution, t: Tensor, where: Any, many: bool) -> list[str] | None:
    """Display names of the values, where they are known and fit."""
    last, row = where[:, -1], where[:, int(many)]
    names, tokens = attribution.feature_names, attribution.tokens
    if names is not None and t.ndim == 2 + many and t.shape[-1] == len(names):
        return [names[i] for i in last]
    if tokens is not None and t.ndim == 2 + many and all(len(r) <= t.shape[-1] for r in tokens):
        return [tokens[r][i] if i < len(tokens[r]) else "" for r, i in zip(row, last, strict=True)]
    return None
