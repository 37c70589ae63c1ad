"""From a subject and an example to an answer in words: prediction, target, device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from enodo.core import tree as trees
from enodo.core.errors import NotFinite, refuse
from enodo.core.targets import tensor_of
from enodo.io import Example, Subject
from enodo.io.parts import Cut
from enodo.io.subject import whole
from enodo.show.evidence import Evidence
from enodo.show.html import Answer, Entry
from enodo.show.page import Page
from enodo.text.classify import probabilities

TOP = 5  # answers told, besides those explained
FEW = 20  # answers that are explained together


@dataclass(frozen=True)
class Run:
    """One finished command: everything that the outputs are made from."""

    subject: Subject
    example: Example
    answers: Sequence[Answer]
    entries: Sequence[Entry]
    targets: Sequence[Any]  # what was explained, one after the other; several share their answers' names
    command: str
    parts: Cut | None = None  # what methods that take parts away took together
    of: str = "OUTPUT"
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    one_scale: bool = False
    compared: bool = False  # whether the methods stand side by side

    @property
    def page(self) -> Page:
        subject = self.subject
        model = subject.title or subject.name
        return Page(
            self.example.sample,
            model,
            self.answers,
            self.entries,
            subject.unit,
            subject.facts,
            self.command,
            self.evidence,
            self.one_scale,
        )


def on_device(subject: Subject, example: Example, device: torch.device) -> Example:
    """The example on `device`, and the subject's model moved there."""
    subject.model.to(device)

    def move(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    return replace(
        example, inputs=trees.map_tree(move, example.inputs), kwargs=trees.map_tree(move, dict(example.kwargs))
    )


def predict(subject: Subject, example: Example) -> Tensor:
    """The model's scores for the example, on the CPU: (classes,), (1,), or of any shape for dense outputs."""
    output = tensor_of(example.put_to(subject.model))
    if subject.classes and output.ndim == 2 and output.shape[1] not in (1, len(subject.classes)):
        given = f"{subject.name!r}, which answers {output.shape[1]} scores"
        refuse("--model", given, f"one for each of its {len(subject.classes)} classes")
    if not bool(output.isfinite().all()):
        if not all(t.isfinite().all() for _, t in trees.leaves(example.inputs) if isinstance(t, Tensor)):
            refuse("INPUT", f"NaN or infinity in {example.sample.title}", "finite numbers", kind=NotFinite)
        refuse(
            "--model",
            f"{subject.name!r}, which answers NaN or infinity here",
            "a model with finite answers",
            kind=NotFinite,
        )
    return output[0].detach().cpu().double() if output.ndim > 1 else output.detach().cpu().double().reshape(-1)


def targets_of(subject: Subject, texts: Sequence[str], top: int | None, output: Tensor, of: str) -> list[Any]:
    """The targets meant by --target, given several times or "all", and --top; each once, in the order given."""
    if top is not None:
        if texts:
            refuse("--top", str(top), f"no --target beside it, which names {', '.join(map(repr, texts))} already")
        if of != "OUTPUT" or output.ndim > 1 or output.numel() < 2:
            refuse("--top", str(top), "a model with a score for each of several classes", "Name a --target instead.")
        return [int(i) for i in output.argsort(descending=True)[:top]]
    goals: list[Any] = []
    for text in texts or ["predicted"]:
        goals += _all(output, of) if text == "all" else [target_of(subject, text, output, of)]
    return [goal for i, goal in enumerate(goals) if goal not in goals[:i]]


def _all(output: Tensor, of: str) -> list[Any]:
    """Every class, where they are few."""
    if of != "OUTPUT" or output.ndim > 1:
        refuse(
            "--target", "'all'", "indices, as what is explained is no list of classes", "Write --target 0 --target 1."
        )
    if len(output) > FEW:
        refuse("--target", f"'all' of {len(output)} answers", f"at most {FEW} at a time", "Write for example --top 5.")
    return [None] if len(output) == 1 else list(range(len(output)))


def target_of(subject: Subject, text: str, output: Tensor, of: str) -> Any:
    """The target meant by `text`: the predicted class, an index, a tuple of indices, or a class by name."""
    single = output.numel() == 1
    place = tuple(n for n in map(whole, text.split(",")) if n is not None)
    if len(place) == text.count(",") + 1 > 1:
        return place
    if of != "OUTPUT":
        if not place:
            refuse("--target", repr(text), f"the index of a unit of {of!r}", "Write for example --target 0.")
        return place[0]
    if text == "predicted":
        if output.ndim > 1:
            expected = f"an index tuple, as the model answers with shape {tuple(output.shape)}"
            refuse("--target", "'predicted'", expected, "Write for example --target 0,1,2.")
        return None if single else int(output.argmax())
    index = subject.class_index(text)
    if output.ndim == 1 and not -len(output) <= index < len(output):
        refuse("--target", text, f"an index from 0 to {len(output) - 1}")
    return None if single else index % len(output) if output.ndim == 1 else index


def answers_of(subject: Subject, output: Tensor, targets: Sequence[Any], of: str) -> list[Answer]:
    """The strongest answers in words, with the explained ones among them."""
    explained = of == "OUTPUT"
    if output.ndim > 1:
        return []
    if output.numel() == 1:
        return [Answer("the answer", float(output), None, explained)]
    shares = probabilities(output) if subject.classes else None
    goals = [goal % len(output) for goal in targets if isinstance(goal, int)] if explained else []
    order = output.argsort(descending=True).tolist()
    return [
        Answer(subject.class_name(i), float(output[i]), None if shares is None else float(shares[i]), i in goals)
        for i in [*order[:TOP], *(goal for goal in goals if goal not in order[:TOP])]
    ]
