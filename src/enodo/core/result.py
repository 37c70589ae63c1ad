"""`Attribution`: an answer, in the structure of what was asked about, with the evidence a reader needs to trust it."""

from __future__ import annotations

import operator
import platform
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from enodo import version

from . import tree as trees
from .errors import BadType, describe, refuse


@dataclass(eq=False, repr=False)
class Attribution:
    """How much each value contributes to a score; B rows, T targets if several were asked about.

    Where there is a single tensor it can be used as one: `a.sum()`, `a + b`, `a[0]`, `torch.allclose(a, t)`,
    `np.asarray(a)`. A nested answer is indexed like the inputs: `a["input_ids"]`.
    """

    values: Any  # like the inputs, or the value at `wrt`; leaves (B, ...), or (T, B, ...) for several targets
    method: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    scores: Tensor | None = None  # f(x): (B,) or (T, B)
    baseline_scores: Tensor | None = None  # f(x0), where the method compares with a baseline
    delta: Tensor | None = (
        None  # completeness gap: sum of the attribution - (f(x) - f(x0)), where completeness is claimed
    )
    stderr: Any = None  # standard error, like `values`, where the method samples
    error: Tensor | None = (
        # (B,) or (T, B): relative change at the last refinement, or half-width of the interval, where `tol` was given
        None
    )
    target: Any = None
    wrt: str = "INPUT"
    of: str = "OUTPUT"
    seed: int | None = None  # where the method samples
    model: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    rows: int = 0  # rows forwarded through the model
    batch_size: int | None = None  # the most rows a pass was allowed in the end
    notes: list[str] = field(default_factory=list)
    details: dict[str, Tensor] = field(default_factory=dict)  # what the method found besides: (B, ...) or (T, B, ...)
    tokens: list[list[str]] | None = None  # labels for display, set by whoever knows them: tokens of each row,
    feature_names: list[str] | None = None  # names of columns,
    class_names: list[str] | None = None  # names of the model's outputs
    texts: list[dict[str, Any]] | None = None  # what the tokens of each row were read from: see `enodo.text.Reading`

    @property
    def tensor(self) -> Tensor:
        """The answer as one tensor."""
        found = [t for _, t in trees.leaves(self.values) if isinstance(t, Tensor)]
        if len(found) != 1:
            refuse(
                "attribution",
                f"an answer of {len(found)} tensors: {describe(self.values)}",
                "one tensor",
                "Index it first.",
            )
        return found[0]

    __hash__ = object.__hash__  # comparisons are those of numbers, as a tensor's are

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        t = self.tensor.detach().cpu()
        array = (t.float() if t.dtype == torch.bfloat16 else t).numpy()  # which numpy does not have
        return np.array(array, dtype=dtype, copy=True) if copy else np.asarray(array, dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """For `torch.as_tensor` and its like elsewhere."""
        return self.tensor.detach().__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def plain(v: Any) -> Any:
            if isinstance(v, (tuple, list)):
                return type(v)(map(plain, v))
            return v.tensor if isinstance(v, Attribution) else v

        return func(*plain(args), **{k: plain(v) for k, v in (kwargs or {}).items()})

    def __getattr__(self, name: str) -> Any:
        """Attributes of the single tensor: shape, dtype, sum(), abs() ..."""
        if name.startswith("_") or not hasattr(Tensor, name):
            raise AttributeError(f"Attribution has no attribute {name!r}")
        return getattr(self.tensor, name)

    def __repr__(self) -> str:
        target = _named(self.target, self.class_names, self.scores)
        errors = [t for _, t in trees.leaves(self.stderr) if isinstance(t, Tensor)]
        told = [
            describe(self.values),
            f"completeness gap {self.delta.abs().max().item():.3g}" if self.delta is not None else "",
            f"standard error {max(t.max().item() for t in errors):.3g} at most" if errors else "",
            f"{self.rows} {'row' if self.rows == 1 else 'rows'} in {self.seconds:.2f} s",
            f"{len(self.notes)} notes" if len(self.notes) > 1 else "a note" if self.notes else "",
        ]
        asked = f"{self.method} of {self.of}{target and f' for {target}'} with respect to {self.wrt}"
        return f"Attribution({asked}:\n    {', '.join(filter(None, told))})"

    def detach(self) -> Attribution:
        """The answer without its graph."""
        return replace(self, values=trees.map_tree(lambda t: t.detach() if isinstance(t, Tensor) else t, self.values))

    def save(self, path: str | Path, **options: Any) -> None:
        """Write the answer and its evidence to a safetensors file; see `load`.

        A name that ends as a page or a picture does (`PICTURES`) gets that instead, drawn with the options of `plot`.
        """
        ending = Path(path).suffix.lower()
        if ending in PICTURES:
            from enodo.show import save as draw

            draw(self, path, **options)
            return
        if ending not in FILES:
            instead = f"For a picture {', '.join(PICTURES)}; for a table `to_dataframe()`."
            refuse("path", repr(Path(path).name), "a name that ends in .safetensors, or has no ending", instead)
        if options:
            refuse("options", options, "none, as those of `plot` are for pictures")
        from .storage import save

        save(self, path)

    @staticmethod
    def load(path: str | Path) -> Attribution:
        """Read what `save` wrote. Structures come back as dicts, tuples and lists; a damaged file is refused."""
        from .storage import load

        return load(path)

    def to_dataframe(self) -> Any:
        """One line a value: row, target where there are several, place, position and attribution (needs pandas)."""
        from .storage import table

        return table(self)

    def check(self, model: Any, inputs: Any, *others: Attribution, **terms: Any) -> Any:
        """How far this can be trusted, in plain words with the numbers: never one score, and no verdict of its own.

        Looked at are: whether the model still gives the score explained; the completeness gap; how far the values have
        settled, or their standard error; deletion and insertion curves beside random orders; agreement with `others`.

        model, inputs  those that were explained
        others         Attributions of the same by other methods
        target         only if the result does not know it: a function or a mask
        baseline       what stands in for parts that are taken away, as for `explain`
        terms          `args`, `kwargs`, `wrt`, `of`, `batch_size`; and `features`, `steps`, `draws`, `absolute`,
                       `probability`, `seed` of `enodo.metrics.curves`

        Costs 2 + (steps - 1) * (2 + draws) rows a row: 110 as it is.
        """
        from enodo.metrics import check  # an upward import like that of `plot`

        return check(self, model, inputs, *others, **terms)

    def plot(self, **options: Any) -> Any:
        """A drawing that suits the data, (figure, axes) of matplotlib: see `enodo.show.plot` (extra `show`)."""
        from enodo.show import plot  # the one upward import, made when a reader asks for a picture

        return plot(self, **options)

    def to_html(self, **options: Any) -> str:
        """A self-contained HTML document; see `enodo.show.to_html`."""
        from enodo.show import to_html

        return to_html(self, **options)

    def _repr_html_(self) -> str | None:
        from enodo.show import in_notebook

        return in_notebook(self)


def _named(target: Any, names: list[str] | None, scores: Tensor | None) -> str:
    """A target in words: numbers with the names of their classes, of the first few where there is one a row."""
    if scores is not None and scores.ndim > 1:
        return f"each of {len(scores)} targets"
    if isinstance(target, list):
        each = [_named(t, names, None) if isinstance(t, int) else str(t) for t in target[:FEW]]
        return ", ".join([*each, *["..."][: len(target) > FEW]])
    if isinstance(target, int) and names is not None and 0 <= target < len(names):
        return f"{target} ({names[target]})"
    return "" if target is None else str(target)


def _delegate(name: str) -> Any:
    def method(self: Attribution, *others: Any) -> Any:
        plain = [o.tensor if isinstance(o, Attribution) else o for o in others]
        return getattr(operator, name)(self.tensor, *plain)

    return method


def _reflected(name: str) -> Any:
    return lambda self, other: getattr(operator, name)(other, self.tensor)


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
for _name in (*_ARITHMETIC, "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Attribution, f"__{_name}__", _delegate(_name))
for _name in _ARITHMETIC:
    setattr(Attribution, f"__r{_name}__", _reflected(_name))
for _name in ("neg", "abs"):
    setattr(Attribution, f"__{_name}__", _delegate(_name))


def provenance(model: Any) -> dict[str, Any]:
    """Which model, and with which software."""
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)
    return {"model": name, "versions": dict(_VERSIONS)}


_VERSIONS = {"enodo": version.__version__, "torch": torch.__version__, "python": platform.python_version()}
FEW = 5  # targets that are named, of one a row
PICTURES = (".html", ".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")
FILES = (".safetensors", ".enodo", "")
TENSORS = ("scores", "baseline_scores", "delta", "error")
TREES = ("values", "stderr")
PLAIN = tuple(f.name for f in fields(Attribution) if f.name not in (*TENSORS, *TREES, "details"))

__all__ = ["Attribution", "BadType", "provenance"]
