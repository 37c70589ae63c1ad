"""From a request to answers: the model, the input, the targets, and each method's attribution of each."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any

from enodo.cli.inspect import last_map
from enodo.cli.options import device_of, method_options, spelled, takes_baseline
from enodo.cli.progress import progress_bar
from enodo.cli.request import Request
from enodo.cli.run import Run, answers_of, on_device, predict, targets_of
from enodo.core.errors import refuse
from enodo.core.explain import explain
from enodo.core.registry import Card, card_of, methods
from enodo.core.result import Attribution
from enodo.core.targets import Each
from enodo.io import Example, Subject, load_subject
from enodo.io.parts import Cut, cut, is_windows, windows
from enodo.show.html import Entry
from enodo.show.view import one_target

# What is compared where nobody says: methods that ask in different ways, as far as they suit the kind of input.
SUITED = {
    "image": ("integrated_gradients", "grad_cam", "occlusion"),
    "text": ("integrated_gradients", "input_x_gradient", "feature_ablation"),
    "table": ("integrated_gradients", "deeplift", "feature_ablation"),
    "tensor": ("integrated_gradients", "deeplift", "feature_ablation"),
}
MOST = 3  # of them
PATIENCE = 1000  # evaluations that the parts of a picture are chosen for, where more are allowed: some ten seconds


@dataclass(frozen=True)
class Asking:
    """One method with its options, at one place."""

    card: Card
    options: dict[str, Any]
    place: str

    @property
    def title(self) -> str:
        inside = self.place not in ("INPUT", "EMBEDDING")
        return f"{self.card.title} at {self.place}" if inside else self.card.title


def answered(request: Request, compared: bool = False) -> Run:
    """The finished run; `compared`: with several methods where the request names none."""
    named = [name.partition("@") for name in request.method or ([] if compared else ["integrated_gradients"])]
    cards = [card_of(name) for name, _, _ in named]
    given = {"steps": request.steps, "samples": request.samples}
    chosen = method_options(cards, request.option or [], given) if named else []
    limit, where, end = request.limit, device_of(request.device), spelled(request.of)
    subject = load_subject(request.model)
    example = subject.read(request.source, request.row)
    if not named:
        cards = suited(subject)
        named = [(card.name, "", "") for card in cards]
        chosen = method_options(cards, request.option or [], given)
    askings = [
        Asking(card, own, place)
        for (_, _, at), card, own in zip(named, cards, chosen, strict=True)
        for place in _places(card, at, request, subject, example)
    ]
    example = on_device(subject, example, where)
    output = predict(subject, example)
    goals = targets_of(subject, request.target or [], request.top, output, end)
    parts = _parts(request, askings, example)
    with progress_bar(request.progress) as bar:
        found = [_asked(a, subject, example, goals, parts, request, limit, end, bar(a.title)) for a in askings]
    entries = [
        Entry(_of_one(result, i, goals), asking.title, asking.card.summary, asking.card.when, words, name)
        for i, name in enumerate(_names(subject, goals, end))
        for asking, result, words in found
    ]
    answers = answers_of(subject, output, goals, end)
    command = shlex.join(["enodo", *sys.argv[1:]])
    return Run(subject, example, answers, entries, goals, command, parts, end)


def suited(subject: Subject) -> list[Card]:
    """The methods that are compared on this kind of input where nobody names any."""
    known = methods()
    return [known[name] for name in SUITED[subject.kind] if name in known][:MOST]


def _places(card: Card, at: str, request: Request, subject: Subject, example: Example) -> list[str]:
    """Where a method is asked: METHOD@PLACE, --wrt, or the input; a class activation map at the last map of a layer."""
    if at:
        return [spelled(at)]
    if request.wrt:
        return [spelled(place) for place in request.wrt]
    if "layer" in card.claims and subject.kind == "image":
        return [last_map(subject, example) or "INPUT"]
    return ["INPUT"]


def _parts(request: Request, askings: Sequence[Asking], example: Example) -> Cut | None:
    """What methods that take parts away take together; None if there is no such method."""
    text = request.features
    wanted = "window" if is_windows(text) else "features"
    takers = [a for a in askings if wanted in a.card.options and not (text is None and _masks(a.card, example))]
    if text is not None and not takers:
        names = ", ".join(a.card.name for a in askings)
        refuse("--features", repr(text), f"a method that takes such parts away, which {names} does not do")
    if wanted == "window" or not takers or ("features" in takers[0].options and text is None):
        return None
    return cut(text, example, min(afforded(a.card, a.options.get("max_evaluations")) for a in takers))


def afforded(card: Card, evaluations: int | None = None) -> int:
    """How many parts a method has evaluations for: those that were asked for, or at most `PATIENCE`."""
    most = card.defaults.get("max_evaluations", PATIENCE)
    return card.affords(min(most, PATIENCE) if evaluations is None else evaluations)


def _masks(card: Card, example: Example) -> bool:
    """Whether a method has masks of its own for an input."""
    return "cells" in card.claims and example.sample.kind == "image"


def _asked(
    asking: Asking,
    subject: Subject,
    example: Example,
    goals: Sequence[Any],
    parts: Cut | None,
    request: Request,
    limit: int | str,
    end: str,
    progress: Any,
) -> tuple[Asking, Attribution, str]:
    """One method's answer, and what it compares with in words."""
    card, own = asking.card, dict(asking.options)
    if subject.kind == "image" and "layer" in card.options and card.options["layer"].default is Parameter.empty:
        own.setdefault("layer", last_map(subject, example))
    shares = None  # of what its part has, for each value of a method that takes parts away
    if asking.place == "INPUT" and "absence" in card.needs:
        shares = _cut(card, own, subject, example, parts, request.features)
    absent = "absence" in card.needs
    reference, words = (subject.absence if absent else subject.baseline)(request.baseline, example)
    compares = takes_baseline(card, own)
    result = explain(
        subject.model,
        example.inputs,
        card.name,
        target=goals[0] if len(goals) == 1 else Each(list(goals)),
        baseline=reference if compares else None,
        wrt=asking.place,
        of=end,
        kwargs=example.kwargs,
        batch_size=limit,
        seed=request.seed,
        progress=progress,
        **own,
    )
    if shares is not None:
        result.values = result.values * shares  # so that sums over a part are what it has
    result.tokens = [list(example.sample.tokens)] if example.sample.tokens else None
    result.texts = [example.sample.reading.as_dict()] if example.sample.reading is not None else None
    result.feature_names = list(example.sample.names) or None
    result.class_names = list(subject.classes) if subject.classes else None
    return asking, result, words if compares else ""


def _cut(
    card: Card, own: dict[str, Any], subject: Subject, example: Example, parts: Cut | None, text: str | None
) -> Any:
    """Options put into `own` so that parts suit the input, and each value's share of what its part has."""
    if "window" in card.options and "window" not in own and (subject.kind == "image" or is_windows(text)):
        side, step = windows(text if is_windows(text) else None, example)
        own["window"] = (side, side)
        own.setdefault("strides", step)
    masks = text is None and _masks(card, example)
    if parts is not None and "features" in card.options and "features" not in own and not masks:
        own["features"] = parts.features
        return None if subject.kind == "image" else 1 / parts.sizes(example.inputs)  # pictures are drawn part by part
    return None


def _of_one(result: Attribution, i: int, goals: Sequence[Any]) -> Attribution:
    """The attribution of one of the targets, which were explained together."""
    if len(goals) == 1:
        return result
    notes = [*result.notes, f"{len(goals)} answers were explained together: time and rows are those of all."]
    return replace(one_target(result, i), notes=notes)


def _names(subject: Subject, goals: Sequence[Any], of: str) -> list[str]:
    """The name of each answer explained; "" where there is one only, which is one of the model's answers."""
    if len(goals) == 1 and of == "OUTPUT" and not isinstance(goals[0], tuple):
        return [""]
    if of != "OUTPUT":
        return [f"unit {goal} of {of}" for goal in goals]
    return [subject.class_name(goal) if isinstance(goal, int) else f"output {goal}" for goal in goals]
