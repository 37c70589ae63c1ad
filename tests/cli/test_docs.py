"""docs/command_line.md says what the command line does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from enodo.cli import commands
from enodo.cli.jsons import SCHEMA
from enodo.cli.options import SUFFIXES
from enodo.io import SUBJECTS
from enodo.io.custom import FACTS
from enodo.io.custom import __doc__ as custom_doc
from enodo.io.weights import load_weights

from .test_explain import FIELDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "code", [commands.DONE, commands.BAD_INPUT, commands.USAGE, commands.FAILED, commands.INTERRUPTED]
)
def test_every_exit_code_has_a_line(code) -> None:
    assert re.search(rf"^\| {code} \|", PAGE, re.M)
    assert re.search(rf"\b{code} ", commands.__doc__)


def test_every_model_and_ending_is_named() -> None:
    assert set(SUBJECTS) == set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.M)) & set(SUBJECTS)
    assert all(f"`{suffix}`" in PAGE for suffix in SUFFIXES)


def test_every_field_of_the_json_is_named() -> None:
    assert f'"{SCHEMA}"' in PAGE
    unnamed = [name for name in FIELDS.split() if f"`{name}`" not in PAGE]
    assert unnamed == ["title"]  # said in words


def test_the_figures_are_those_measured() -> None:
    sentiment, tumours, wages = (load_weights(name)[1] for name in ("minilm_sentiment", "breast_cancer", "wage"))
    assert f"{sentiment['accuracy']:.1%}".replace("%", " %") + f" of {sentiment['held_out']:,}" in PAGE
    assert f"{tumours['accuracy']:.1%}".replace("%", " %") + f" of {tumours['held_out']} tumours" in PAGE
    assert f"{wages['r2']:.0%}".replace("%", " %") + f" of the variance of {wages['held_out']} wages" in PAGE


def test_every_fact_of_a_factory_is_explained() -> None:
    assert all(f"``{name}``" in custom_doc for name in FACTS)
