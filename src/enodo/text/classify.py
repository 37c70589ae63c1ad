"""Classes and numbers that a model gives a whole text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import nearest, refuse
from enodo.core.targets import Each
from enodo.text.batch import Batch, each
from enodo.text.explainer import TextExplainer
from enodo.text.reading import Reading
from enodo.text.result import TextAttribution


class ClassExplainer(TextExplainer):
    """What explainers of classes share: the names of the classes, and what a model says in words."""

    def said(self, answer: Tensor) -> dict[str, Any]:
        """What the model answers, in words: the class with its probability, the classes of several, or the number."""
        if len(answer) == 1:
            return {"prediction": f"{float(answer):.4g}"}
        if getattr(self.config, "problem_type", None) == "multi_label_classification":
            shares = answer.sigmoid()
            chosen = [i for i in shares.argsort(descending=True).tolist() if shares[i] > 0.5]
            return {"prediction": ", ".join(map(self.name, chosen)) or "none of them", "probability": None}
        shares = probabilities(answer)
        return {"prediction": self.name(int(shares.argmax())), "probability": float(shares.max())}

    def name(self, label: Any) -> str:
        """The name of a class, or a recorded answer as it stands."""
        if isinstance(label, int) and self.classes and 0 <= label < len(self.classes):
            return self.classes[label]
        return f"class {label}" if isinstance(label, int) and not isinstance(label, bool) else str(label)

    def index(self, target: Any, count: int) -> int:
        """The number of a class that is given by number or by name."""
        names = self.classes or []
        if isinstance(target, int) and not isinstance(target, bool):
            if not -count <= target < count:
                refuse("target", str(target), f"a class from 0 to {count - 1}")
            return target % count
        found = [i for i, name in enumerate(names) if isinstance(target, str) and name.lower() == target.lower()]
        if not found:
            known = f"one of {', '.join(names[:12])}" if names else "the number of a class: they have no names"
            refuse(
                "target", repr(target), f'"predicted", "all" or {known}', nearest(str(target), names) if names else ""
            )
        return found[0]


class TextClassifierExplainer(ClassExplainer):
    """Why a text got its class, or its number (a regression): which of its words spoke for it, and which against.

    >>> explain = TextClassifierExplainer(model, tokenizer)  # doctest: +SKIP
    >>> explain("What a lovely film!").words()  # doctest: +SKIP
    """

    def __call__(
        self,
        text: Any,
        pair: Any = None,
        *,
        target: Any = "predicted",
        label: Any = None,
        **how: Any,
    ) -> TextAttribution:
        """Explain a string, a pair of strings, or a list of either.

        target  "predicted", a class by name or number, one of these for each text, "all", or `Each` of several
        label   the recorded answer, by name or number, or one for each text: for the reader only
        how     as `about` has it: method, baseline, special, wrt, and the options of `enodo.explain` and of the method
        """
        batch = self.batch(text, pair)
        targets, labels = (each(v, len(batch.readings), n) for v, n in ((target, "target"), (label, "label")))

        def settle(part: Batch, rows: Sequence[int]) -> tuple[Any, list[Reading]]:
            logits = self.outputs(part)
            if logits.ndim > 2:
                given = f"one whose answers have shape {tuple(logits.shape)}"
                instead = (
                    "Of one that answers for each token, ask TokenClassifierExplainer, or enodo.explain about one."
                )
                refuse("model", given, "a score for each class of a whole text", instead)
            logits = logits.reshape(len(logits), -1)
            goal = self._goal(targets, logits, rows) if logits.shape[1] > 1 else None
            named = goal if isinstance(goal, list) else [goal] * len(rows)
            found = []
            for reading, row, answer, index in zip(part.readings, rows, logits, named, strict=True):
                wanted = self.name(index) if isinstance(index, int) else None
                told = None if labels[row] is None else self.name(labels[row])
                found.append(replace(reading, **self.said(answer), target=wanted, label=told))
            return goal, found

        return self.explain(batch, settle, **how)

    def _goal(self, targets: Sequence[Any], logits: Tensor, rows: Sequence[int]) -> Any:
        """The target of some rows as `enodo.explain` takes it: "all", Each, or the number of a class for each row."""
        first = targets[rows[0]]
        if isinstance(first, str) and first == "all":
            return "all"
        if isinstance(first, Each):
            goals = [self._goal([t] * (max(rows) + 1), logits, rows) for t in first.targets]
            return Each([torch.tensor(g) if isinstance(g, list) else g for g in goals])
        return [
            int(answer.argmax()) if targets[row] == "predicted" else self.index(targets[row], len(answer))
            for row, answer in zip(rows, logits, strict=True)
        ]


def probabilities(scores: Tensor) -> Tensor:
    """Softmax of class scores (C,); scores that are probabilities already are left as they are."""
    if bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < 1e-4:
        return scores
    return scores.softmax(0)
