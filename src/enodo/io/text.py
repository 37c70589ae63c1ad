"""Reading a sentence or a text file into token ids, for any Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from enodo.core.errors import refuse
from enodo.io.subject import Example, Reference, Subject
from enodo.show.sample import Sample
from enodo.text.baselines import WORDS, known, replaced, token_of
from enodo.text.batch import IDS, MASK, limit_of
from enodo.text.reading import Reading, read

UNKNOWN = 8  # words told that the model does not know


@contextmanager
def quiet() -> Iterator[None]:
    """Transformers' own notes and bars while it loads, kept off standard error; its settings are put back."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def read_text(source: str | None, row: int | None) -> tuple[str, str]:
    """(text, title): the sentence itself, or what a .txt file holds, of which `row` picks one line, counted from 0."""
    if source is None:
        refuse(
            "INPUT", "nothing", "a sentence in quotes or the name of a .txt file", 'Write: enodo explain "What a film!"'
        )
    path = Path(source)
    is_file = len(source) < 1000 and "\n" not in source and path.is_file()
    if not is_file:
        if path.suffix.lower() == ".txt" and " " not in source.strip():
            refuse("INPUT", repr(source), "a sentence or an existing text file", "No such file.")
        if row is not None:
            refuse("--row", str(row), "a .txt file to take the line from", "A sentence has no rows.")
        text, title = source, "the sentence"
    else:
        try:
            text, title = path.read_text(encoding="utf-8"), path.name
        except UnicodeDecodeError:
            refuse("INPUT", repr(source), "text in UTF-8", "This file holds other bytes.")
        if row is not None:
            lines = text.splitlines()
            if not 0 <= row < len(lines):
                refuse("--row", str(row), f"a line from 0 to {len(lines) - 1} of {path.name}")
            text, title = lines[row], f"line {row} of {path.name}"
    if not text.strip():
        refuse("INPUT", "an empty text", "at least one word")
    return text.strip(), title


def text_reader(tokenizer: Any, limit: int | None) -> Callable[[str | None, int | None], Example]:
    """A reader of text for `tokenizer`; text beyond `limit` tokens is cut, and the sample says so."""

    def example(source: str | None, row: int | None) -> Example:
        text, title = read_text(source, row)
        reading, found = read(tokenizer, text, limit=limit)
        note = "; ".join(filter(None, [_cut_off(reading), _unknown(reading, getattr(tokenizer, "unk_token", None))]))
        sample = Sample("text", title, tokens=reading.tokens, reading=reading, note=note)
        return Example(torch.tensor([found[IDS]]), sample, {MASK: torch.tensor([found[MASK]])})

    return example


def _cut_off(reading: Reading) -> str:
    """How much of a text was read, where that is not all of it."""
    seen, whole = len(reading.tokens), len(reading.tokens) + reading.unread
    return f"only the first {seen} of {whole} tokens were read" if reading.unread else ""


def _unknown(reading: Reading, unknown: str | None) -> str:
    """What of a text is one and the same token to the model, which stands for all that it has no token for."""
    places = [s for token, s in zip(reading.tokens, reading.spans, strict=True) if s is not None and token == unknown]
    found = dict.fromkeys(reading.segments[number][start:end] for number, start, end in places)
    more = f" and {len(found) - UNKNOWN} more" if len(found) > UNKNOWN else ""
    return f"unknown to the model, all alike: {' '.join(list(found)[:UNKNOWN])}{more}" if found else ""


def token_baselines(tokenizer: Any) -> dict[str, Reference]:
    """What a text can be compared with: nothing at all, or one token for every other between those that were added."""

    def of(name: str) -> Callable[[Example], Any]:
        def ids(example: Example) -> Any:
            reading = example.sample.reading
            kept = [s is None for s in reading.spans] if reading is not None else [False] * len(example.sample.tokens)
            return replaced(example.inputs, torch.tensor([kept]), token_of(tokenizer, name))

        return ids

    names = ["zero", *(name for name in known(tokenizer) if name != "zero")]
    return {name: Reference(WORDS[name], of(name) if name != "zero" else lambda example: None) for name in names}


def _need_words(tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer that was made of the model's name alone, to which every word is unknown."""
    files = {*tokenizer.vocab_files_names.values(), "tokenizer.json", "tokenizer_config.json"}
    if not any((folder / name).is_file() for name in files):
        raise OSError(f"It has no tokenizer: save it there too, tokenizer.save_pretrained({folder.name!r}).")


def folder_subject(folder: Path) -> Subject:
    """A text classifier saved by `save_pretrained`, with its tokenizer, read from `folder` alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            _need_words(tokenizer, folder)
            model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        refuse(
            "--model",
            repr(str(folder)),
            "a folder with a text classifier and its tokenizer",
            str(error).splitlines()[0],
        )
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    return Subject(
        name=folder.name,
        model=model.eval(),
        kind="text",
        read=text_reader(tokenizer, limit_of(model, tokenizer)),
        title=f"{type(model).__name__} from {folder.name}",
        classes=names if len(names) > 1 else None,
        baselines=token_baselines(tokenizer),
    )
