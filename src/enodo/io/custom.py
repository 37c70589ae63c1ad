"""Models of one's own on the command line: `package.module:factory`, `file.py:factory`, or a Hugging Face folder.

The factory is called without arguments and returns one of the following; a module may stand there itself.

* an `nn.Module`: inputs are numbers, from a .npy, .csv or .json file;
* `(nn.Module, facts)`, where `facts` is a dict that says what the inputs are:

  ============  ==========================================================================================
  ``kind``      "image", "table" or "tensor" (text: return a `Subject`, or save the model as a folder)
  ``classes``   the names of the outputs
  ``unit``      of the answer of a regression, for example "kg"
  ``title``     what to call the model in a report
  ``size``      image: (height, width) the model takes; also ``mean``, ``std`` (per channel, for pixels of
                0 to 255), ``crop`` (share of the short side kept) and ``grey``
  ``features``  table: the names of the columns; also ``mean`` and ``std`` of each, if the model wants them scaled
  ============  ==========================================================================================

* a `Subject`, for everything else.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from enodo.core.errors import BadType, EnodoError, describe, nearest, refuse
from enodo.io.photos import Preprocessing, image_baselines, photo_reader
from enodo.io.subject import Subject
from enodo.io.tables import Table, average, table_reader
from enodo.io.tensors import tensor_reader

FACTS = ("kind", "classes", "unit", "title", "size", "mean", "std", "crop", "grey", "features")


def _are_names(value: Any) -> bool:
    return not isinstance(value, str) and all(isinstance(name, str) for name in value)


# What some of them have to be: the words, and what holds of them or fails.
SHAPED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "classes": ("a list of names", _are_names),
    "features": ("a list of names", _are_names),
    "size": ("(height, width) in pixels", lambda size: len(size) == 2 and all(side == int(side) > 0 for side in size)),
    "mean": ("a list of numbers", lambda mean: bool(torch.as_tensor(mean).isfinite().all())),
    "std": ("a list of numbers above 0", lambda std: bool((torch.as_tensor(std) > 0).all())),
}


class FactoryFailed(EnodoError):
    """The user's own code raised an error while it made the model."""


def from_spec(spec: str) -> Subject:
    """The Subject that `module:factory` or `file.py:factory` makes."""
    where, _, name = spec.rpartition(":")
    module = _module(where, spec)
    factory = getattr(module, name, None)
    if not callable(factory):
        known = [n for n in vars(module) if not n.startswith("_") and callable(getattr(module, n))]
        refuse("--model", repr(spec), f"a function of {where} after the colon", nearest(name, known))
    made = factory if isinstance(factory, nn.Module) else _guarded(factory, spec)
    if isinstance(made, Subject):
        return made
    model, facts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(model, nn.Module) or not isinstance(facts, Mapping):
        refuse(
            "--model",
            f"{spec!r}, which returned {describe(made)}",
            "an nn.Module, (nn.Module, dict) or a Subject",
            kind=BadType,
        )
    return subject_of(model, facts, name)


def subject_of(model: nn.Module, facts: Mapping[str, Any], name: str) -> Subject:
    """A Subject from a module and the facts a factory gave about its inputs."""
    for key in facts:
        if key not in FACTS:
            refuse("--model", f"the fact {key!r}", f"one of {', '.join(FACTS)}", nearest(key, FACTS))
        if key in SHAPED and not _fits(SHAPED[key][1], facts[key]):
            refuse("--model", f"the fact {key!r} as {describe(facts[key])}", SHAPED[key][0])
    kind = facts.get("kind", "image" if "size" in facts else "table" if "features" in facts else "tensor")
    common: dict[str, Any] = {
        "name": name,
        "model": model.eval(),
        "kind": kind,
        "classes": facts.get("classes"),
        "unit": facts.get("unit", ""),
        "title": facts.get("title", f"{type(model).__name__} {name}"),
    }
    if kind == "image":
        given = {key: facts[key] for key in ("size", "mean", "std", "crop", "grey") if key in facts}
        if given.get("grey"):
            given = {"mean": (0.0,), "std": (255.0,)} | given
        prepare = Preprocessing(**given)
        return Subject(**common, read=photo_reader(prepare, {}), baselines=image_baselines(prepare))
    if kind == "table":
        names = list(
            facts.get("features") or refuse("--model", "a table without 'features'", "the names of its columns")
        )
        mean = torch.as_tensor(facts.get("mean", [0.0] * len(names)), dtype=torch.float64)
        std = torch.as_tensor(facts.get("std", [1.0] * len(names)), dtype=torch.float64)
        if not len(names) == len(mean) == len(std):
            numbers = f"'mean' of {len(mean)} and 'std' of {len(std)} columns"
            refuse("--model", numbers, f"a number for each of the {len(names)} in 'features'")
        if "mean" in facts:
            common["baselines"] = {"average": average("row")}
        return Subject(**common, read=table_reader(Table(dict.fromkeys(names), mean, std), [], name))
    if kind == "tensor":
        return Subject(**common, read=tensor_reader)
    return refuse("--model", f"kind {kind!r}", "'image', 'table' or 'tensor'", "For text, return an enodo.io.Subject.")


def _fits(holds: Callable[[Any], bool], value: Any) -> bool:
    try:
        return holds(value)
    except (TypeError, ValueError, RuntimeError):
        return False


def _module(where: str, spec: str) -> ModuleType:
    """The module of a dotted name or of a file, imported; the current folder counts as on the path."""
    if where.endswith(".py"):
        path = Path(where).resolve()
        if not path.is_file():
            refuse("--model", repr(spec), "an existing Python file before the colon", "No such file.")
        found = importlib.util.spec_from_file_location(path.stem, path)
        if found is None or found.loader is None:
            refuse("--model", repr(spec), "a Python file that can be imported")
        module = importlib.util.module_from_spec(found)
        sys.modules.setdefault(path.stem, module)
        loader = found.loader
        _guarded(lambda: loader.exec_module(module), spec)
        return module
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        refuse("--model", repr(spec), "package.module:factory or file.py:factory", f"{error}.")
    except Exception as error:
        raise FactoryFailed(f"--model {spec}: importing {where} failed: {type(error).__name__}: {error}") from error


def _guarded(call: Callable[[], Any], spec: str) -> Any:
    """What the user's code returns; its errors are told in one sentence."""
    try:
        return call()
    except (Exception, SystemExit) as error:  # a script, say, that reads its own command line
        raise FactoryFailed(f"--model {spec}: {type(error).__name__}: {error}") from error
