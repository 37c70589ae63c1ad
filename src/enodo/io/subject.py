"""A subject: a model, how to read an input for it, and the words in which its answers are told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from enodo.core.absence import Absence
from enodo.core.errors import nearest, refuse, remark
from enodo.core.explain import ask
from enodo.core.remedies import mended
from enodo.show.sample import Kind, Sample


def whole(text: str) -> int | None:
    """The whole number that `text` is, in plain digits; None if it is none."""
    return int(text) if re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text) else None


@dataclass(frozen=True)
class Example:
    """One input, twice: as the model takes it (`inputs`, one row, and `kwargs`) and as a reader sees it (`sample`)."""

    inputs: Any
    sample: Sample
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None  # the file it was read from; None for the subject's own data

    def put_to(self, model: nn.Module) -> Any:
        """What `model` answers, without gradients: a mapping is given as keywords, a tuple or list as arguments.

        Where it does not answer, the error says what would mend that.
        """
        inputs = self.inputs
        try:
            with torch.no_grad():
                if isinstance(inputs, Mapping):
                    return model(**inputs, **self.kwargs)
                return model(*(inputs if isinstance(inputs, (tuple, list)) else (inputs,)), **self.kwargs)
        except Exception as error:
            mended(ask(model, inputs, kwargs=self.kwargs, needs=frozenset()), False, error)
            remark(error, inputs)
            raise


@dataclass(frozen=True)
class Reference:
    """A baseline by name: the words for it ("a black picture") and how to make it for an example."""

    words: str
    make: Callable[[Example], Any]


ZERO = Reference("an input of zeros", lambda example: None)

# What only methods that take parts away can do, by the kind of input: name -> (baseline, words for it).
ABSENCES: dict[str, dict[Any, tuple[Absence, str]]] = {
    "text": {
        "dropped": (Absence.dropped(), "nothing: the sentence closes up over missing words"),
        "hidden": (Absence.masked(), "nothing: the attention mask hides missing words"),
    },
    "image": {"mean": (Absence.mean(), "the mean colour of the picture")},
}


@dataclass(frozen=True)
class Subject:
    """A model that can be asked about by name.

    `read(source, row)` turns a file name, a sentence or a row number into an `Example`. `classes` names the outputs;
    None for a regression, whose answer is in `unit`. The first of `baselines` is the default.
    `facts` says how good the model was measured to be.
    """

    name: str
    model: nn.Module
    kind: Kind
    read: Callable[[str | None, int | None], Example]
    title: str = ""
    classes: Sequence[str] | None = None
    unit: str = ""
    baselines: Mapping[str, Reference] = field(default_factory=lambda: {"zero": ZERO})
    facts: str = ""

    def baseline(self, text: str | None, example: Example) -> tuple[Any, str]:
        """(baseline, words for it) from a name of `baselines`, a number in the model's own scale, or another input."""
        text = next(iter(self.baselines)) if text is None else text
        if text in self.baselines:
            reference = self.baselines[text]
            return reference.make(example), reference.words
        try:
            return float(text), f"the constant {float(text):g} in the model's own scale"
        except ValueError:
            pass
        if self.kind == "image" and "." in text:
            return self.read(text, None).inputs, f"the picture {text}"
        if self.kind in ("table", "tensor") and text.startswith("row:") and (row := whole(text[4:])) is not None:
            return self.read(example.source, row).inputs, f"row {row} of the same data"
        if text in ABSENCES.get(self.kind, {}):
            refuse("--baseline", repr(text), "another one for methods that take no parts away")
        known = ", ".join(self.baselines)
        refuse("--baseline", repr(text), f"a number or one of: {known}", nearest(text, self.baselines))

    def absence(self, text: str | None, example: Example) -> tuple[Any, str]:
        """(baseline, words for it) of what stands in for parts that are taken away: by the same names, or `ABSENCES`.

        Words of a text cannot be taken away by zero vectors, since the model is given ids: masked words stand in.
        """
        if self.kind == "text" and text in (None, "zero"):
            text = next((name for name in ("mask", "pad") if name in self.baselines), text)
        if text in ABSENCES.get(self.kind, {}):
            return ABSENCES[self.kind][text]
        return self.baseline(text, example)

    def class_index(self, text: str) -> int:
        """The index of a class from its number or its name (any case; the part before the first comma will do)."""
        names = list(self.classes or ())
        index = whole(text)
        if index is not None:
            if names and not -len(names) <= index < len(names):
                refuse("--target", text, f"an index from 0 to {len(names) - 1}, or a class name")
            return index % len(names) if names else index
        wanted = text.strip().lower()
        for i, name in enumerate(names):
            if wanted in (name.lower(), name.split(",")[0].strip().lower()):
                return i
        if not names:
            refuse("--target", repr(text), f"an index: the outputs of {self.name!r} have no names")
        short = {name.split(",")[0].strip().lower() for name in names}
        refuse(
            "--target",
            repr(text),
            f"'predicted', an index, or one of {len(names)} class names",
            nearest(wanted, sorted(short)),
        )

    def class_name(self, index: int) -> str:
        """The name of output `index`, or its number where the outputs have no names."""
        return self.classes[index] if self.classes and index < len(self.classes) else f"output {index}"
