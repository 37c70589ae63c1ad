"""From a subject and an example to an answer in words: prediction, target, device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from enodo.core import tree as trees
from enodo.core.errors import NotFinite, refuse
from enodo.core.targets import tensor_of
from enodo.io import Example, Subject
from enodo.show.html import Answer, Entry, Page

TOP = 5  # answers told, besides the one explained


@dataclass(frozen=True)
class Run:
    """One finished command: everything that the outputs are made from."""

    subject: Subject
    example: Example
    answers: Sequence[Answer]
    entries: Sequence[Entry]
    target: Any
    command: str

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
    if not bool(output.isfinite().all()):
        refuse(
            "--model",
            f"{subject.name!r}, which answers NaN or infinity here",
            "a model with finite answers",
            kind=NotFinite,
        )
    return output[0].detach().cpu().double() if output.ndim > 1 else output.detach().cpu().double().reshape(-1)


def target_of(subject: Subject, text: str, output: Tensor, of: str) -> Any:
    """The target meant by `text`: the predicted class, an index, a tuple of indices, or a class by name."""
    single = output.numel() == 1
    parts = text.split(",")
    if all(p.strip().lstrip("-").isdigit() for p in parts) and len(parts) > 1:
        return tuple(int(p) for p in parts)
    if of != "OUTPUT":
        if not text.lstrip("-").isdigit():
            refuse("--target", repr(text), f"the index of a unit of {of!r}", "Write for example --target 0.")
        return int(text)
    if text == "predicted":
        if output.ndim > 1:
            expected = f"an index tuple, as the model answers with shape {tuple(output.shape)}"
            refuse("--target", "'predicted'", expected, "Write for example --target 0,1,2.")
        return None if single else int(output.argmax())
    index = subject.class_index(text)
    if output.ndim == 1 and not -len(output) <= index < len(output):
        refuse("--target", text, f"an index from 0 to {len(output) - 1}")
    return None if single else index


def answers_of(subject: Subject, output: Tensor, target: Any, of: str) -> list[Answer]:
    """The strongest answers in words, with the explained one among them."""
    explained = of == "OUTPUT"
    if output.ndim > 1:
        return []
    if output.numel() == 1:
        return [Answer("the answer", float(output), None, explained)]
    shares = probabilities(output) if subject.classes else None
    order = output.argsort(descending=True).tolist()
    shown = order[:TOP]
    if explained and isinstance(target, int) and target % len(output) not in shown:
        shown.append(target % len(output))
    return [
        Answer(
            subject.class_name(i),
            float(output[i]),
            None if shares is None else float(shares[i]),
            explained and isinstance(target, int) and i == target % len(output),
        )
        for i in shown
    ]


def probabilities(output: Tensor) -> Tensor:
    """Softmax of class scores (C,); scores that are probabilities already are left as they are."""
    if bool((output >= 0).all()) and abs(float(output.sum()) - 1) < 1e-4:
        return output
    return output.softmax(0)
