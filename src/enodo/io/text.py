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


def text_reader(tokenizer: Any, limit: int) -> Callable[[str | None, int | None], Example]:
    """A reader of text for `tokenizer`; text beyond `limit` tokens is cut, and the sample says so."""

    def read(source: str | None, row: int | None) -> Example:
        text, title = read_text(source, row)
        ids = tokenizer(text, truncation=True, max_length=limit)["input_ids"]
        whole = len(tokenizer(text, verbose=False)["input_ids"])
        note = f"only the first {limit} of {whole} tokens were read" if whole > limit else ""
        batch = torch.tensor([ids])
        sample = Sample("text", title, tokens=tokenizer.convert_ids_to_tokens(ids), note=note)
        return Example(batch, sample, {"attention_mask": torch.ones_like(batch)})

    return read


def token_baselines(tokenizer: Any) -> dict[str, Reference]:
    """What a text can be compared with: nothing at all, or padding between the special tokens."""
    special = set(tokenizer.all_special_ids)

    def padded(token: int) -> Callable[[Example], Any]:
        return lambda e: torch.tensor([[i if i in special else token for i in e.inputs[0].tolist()]])

    names = {"zero": Reference("no words at all (zero word vectors)", lambda e: None)}
    if tokenizer.pad_token_id is not None:
        names["pad"] = Reference("a text of padding only", padded(tokenizer.pad_token_id))
    if getattr(tokenizer, "mask_token_id", None) is not None:
        names["mask"] = Reference("a text of masked words only", padded(tokenizer.mask_token_id))
    return names


def folder_subject(folder: Path) -> Subject:
    """A text classifier saved by `save_pretrained`, with its tokenizer, read from `folder` alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        refuse(
            "--model",
            repr(str(folder)),
            "a folder with a text classifier and its tokenizer",
            str(error).splitlines()[0],
        )
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
    return Subject(
        name=folder.name,
        model=model.eval(),
        kind="text",
        read=text_reader(tokenizer, limit),
        title=f"{type(model).__name__} from {folder.name}",
        classes=names if len(names) > 1 else None,
        baselines=token_baselines(tokenizer),
    )
