"""Texts drawn: what is read in them, lines and directions, contrast, escaping in a real browser, and speed."""

from __future__ import annotations

import cProfile
import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from enodo.core.result import Attribution
from enodo.show import plot
from enodo.show.lines import lines, width
from enodo.show.scale import scale_of
from enodo.show.text import fragment, rows, written
from enodo.show.textplot import DEEPEST, ENDS, PAPER, draw
from enodo.show.tokens import Facts, Words, words_in, words_of
from enodo.show.view import view_of
from enodo.text.reading import Reading
from tests.show.browser import opened, title_of
from tests.show.test_report import Checked

RUN = "document.title='run'"
EVIL = [
    f'<img src=x onerror="{RUN}">',
    f"<script>{RUN}</script>",
    f'"><svg onload="{RUN}">',
    f"</p><p onclick='{RUN}'>",
]


def reading(text: str, *spans: tuple[int, int], **more: Any) -> Reading:
    """A text whose tokens stand at these spans, between two that were added."""
    tokens = ["<s>", *(text[a:b] for a, b in spans), "</s>"]
    return Reading((text,), tuple(tokens), (None, *((0, a, b) for a, b in spans), None), **more)


def words(text: str, values: list[float] | None = None) -> Words:
    """A text with a token for each word."""
    found = [m.span() for m in re.finditer(r"\S+", text)]
    return words_in(reading(text, *found), [0.0, *(values or [1.0] * len(found)), 0.0])


class TestWords:
    def test_the_text_stands_as_it_was_written(self) -> None:
        text = "  Été—so  UN-\nread"
        found = words_in(reading(text, (2, 5), (6, 8)), [0.0, 1.0, 2.0, 0.0])
        assert found.words == ["Été", "so"]
        assert found.before == ["  ", "—"]
        assert found.after == "  UN-\nread"
        page = Checked(fragment(found, "points"))
        assert "".join(page.text).startswith(text)

    def test_added_tokens_show_only_where_they_count(self) -> None:
        text = reading("film", (0, 4))
        assert words_in(text, [0.0, 1.0, 0.0]).words == ["film"]
        counted = words_in(text, [0.5, 1.0, 0.0])
        assert (counted.words, counted.special, counted.leads) == (["<s>", "film"], [True, False], ["", " "])
        assert words_in(reading(""), [0.0, 0.0]).words == ["<s>", "</s>"]

    def test_a_pair_is_two_lines(self) -> None:
        pair = Reading(("one two", "three"), ("one", "three"), ((0, 0, 3), (1, 0, 5)))
        found = words_in(pair, [1.0, 2.0])
        assert (found.words, found.before, found.after) == (["one", "three"], ["", " two\n"], "")
        assert words_in(Reading(("one", "two"), ("one",), ((0, 0, 3),)), [1.0]).after == "\ntwo"

    def test_what_is_told_of_a_text(self) -> None:
        told = Facts("good", 0.912, "bad", "good", 1.5, "2.00%").told()
        assert told == [
            ("Prediction", "good (91.2%)"), ("Recorded", "bad (not the prediction)"), ("Explained", "good"),
            ("Score", "1.5"), ("Gap", "2.00%"),
        ]  # fmt: skip
        assert Facts("good", label="good").told() == [("Prediction", "good"), ("Recorded", "good")]
        assert Facts().told() == []

    def test_an_attribution_that_knows_its_texts(self) -> None:
        texts = [reading("a b", (0, 1), (2, 3), prediction="yes", probability=0.75), reading("c", (0, 1))]
        several = Attribution(
            torch.tensor([[[0.0, 1, 2, 0], [0, 3, 0, 0]], [[0.0, 4, 5, 0], [0, 6, 0, 0]]]), method="deeplift",
            scores=torch.tensor([[1.0, 2.0], [3.0, 4.0]]), baseline_scores=torch.zeros(2, 2), delta=torch.zeros(2, 2),
            target="all", class_names=["no", "yes"], texts=[t.as_dict() for t in texts],
        )  # fmt: skip
        page = several.to_html(target=1)
        assert [w in page for w in ("Prediction: <strong>yes (75.0%)", "Explained: <strong>yes", "Score: <strong>4")]
        view = view_of(Attribution(several.values[1], texts=several.texts), row=1)
        assert isinstance(view, Words)
        assert (view.words, view.values.tolist()) == (["c"], [6.0])


class TestPages:
    def test_several_texts_are_on_one_scale(self) -> None:
        small, large = words("a b", [1.0, -1.0]), words("c", [10.0])
        page = str(rows([small, large], "points"))
        assert page.count('class="legend"') == 1
        assert 'class="w pos l1"' in page
        own = str(rows([small, large], "points", shared=False))
        assert own.count('class="legend"') == 2
        assert own.count("l10") == 3

    def test_nothing_to_see_is_said(self) -> None:
        assert "Every value is zero" in fragment(words("a", [0.0]), "points")
        broken = fragment(words("a b", [float("nan"), 1.0]), "points")
        assert "1 values are not a number" in broken
        assert 'class="w zero l0" title="a: not a number"' in broken
        assert "weaker words" in fragment(words("a " * 300), "points")

    def test_a_text_against_is_underlined(self) -> None:
        style = resources.files("enodo.show").joinpath("report.css").read_text(encoding="utf-8")
        assert re.search(r"\.w\.neg \{[^}]*text-decoration: underline", style)
        assert not re.search(r"\.w\.pos \{[^}]*underline", style)

    @pytest.mark.parametrize("dark", [False, True])
    def test_letters_can_be_read_on_every_ground(self, dark: bool) -> None:
        """WCAG 2.2 AA asks for a contrast of 4.5, here on each depth of both colours in both themes."""
        style = resources.files("enodo.show").joinpath("report.css").read_text(encoding="utf-8")
        given = style[style.index("prefers-color-scheme: dark") :] if dark else style
        colours = {name: _rgb(value) for name, value in re.findall(r"--([\w-]+): ([^;]+);", given[:1200])[:12]}
        depths = [float(d) for d in re.findall(r"\.l\d+ \{ --depth: ([\d.]+); \}", style)]
        assert len(depths) == 10
        for name in ("for", "against"):
            for depth in depths:
                ground = colours["card"] + depth * (colours[name] - colours["card"])
                assert _contrast(colours["ink"], ground) >= 4.5
        assert _contrast(colours["soft"], colours["card"]) >= 4.5
        paper, ink, small = (_rgb(c) for c in PAPER[dark])
        for end in ENDS[dark]:
            assert _contrast(ink, paper + DEEPEST * (np.array(end) - paper)) >= 4.5
        assert _contrast(small, paper) >= 4.5

    def test_no_token_becomes_code_in_a_browser(self, tmp_path: Path) -> None:
        """Without the policy that a whole page has: what is inside is escaped by itself."""
        facts = Facts(EVIL[0], label=EVIL[1], target=EVIL[2])
        view = Words(EVIL, [False] * 4, np.arange(4.0), EVIL, EVIL[0], facts)
        body = f"{fragment(view, EVIL[1])}{rows([view], EVIL[2])}"
        found = opened(f"<!doctype html><title>quiet</title><body>{body}", tmp_path)
        assert title_of(found) == "quiet"
        seen = "".join(Checked(found).text)
        assert all(token in seen for token in EVIL)
        for tag in ("img", "svg onload", "script"):
            assert f"<{tag}" not in found

    def test_the_same_tokens_unescaped_would_be(self, tmp_path: Path) -> None:
        bare = f"<!doctype html><title>quiet</title><body>{EVIL[0]}"
        assert title_of(opened(bare, tmp_path)) == "run"


def _rgb(text: str) -> np.ndarray:
    text = text.strip()
    if text.startswith("#"):
        return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)], float)
    parts = text.split()
    return np.array(parts, float) if len(parts) == 3 and text.replace(" ", "").isdigit() else np.zeros(3)


def _contrast(a: np.ndarray, b: np.ndarray) -> float:
    """The ratio of relative luminances, as WCAG 2.2 defines them."""

    def luminance(c: np.ndarray) -> float:
        share = c / 255
        return float(
            np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def laid(view: Words, columns: int = 20) -> list[str]:
    """The lines as a reader sees them."""
    out = []
    for line in lines(view, columns):
        row = [" "] * columns
        for piece in line:
            row[piece.column : piece.column + len(piece.text)] = piece.text
        out.append("".join(row).rstrip())
    return out


class TestLines:
    def test_lines_break_at_spaces(self) -> None:
        assert laid(words("the film was unbelievably lovely")) == ["the film was", "unbelievably lovely"]

    def test_line_breaks_of_the_text_are_kept(self) -> None:
        assert laid(words("one\n\ntwo three")) == ["one", "", "two three"]

    def test_what_is_wider_than_a_line_is_broken(self) -> None:
        assert laid(words("a " + "b" * 45 + " c"), 20) == ["a", "b" * 20, "b" * 20, "b" * 5 + " c"]

    def test_marks_stay_with_their_words(self) -> None:
        view = words_of(["nineteen", "letters", "here", "!"], np.ones(4))
        assert laid(view) == ["nineteen letters", "here!"]

    def test_letters_of_two_columns(self) -> None:
        assert width("这部film") == 8
        assert width("e\u0301\u200d") == 1
        view = Words(list("这部电影很好看今日天"), [False] * 10, np.ones(10), [""] * 10)
        assert [[p.column for p in line] for line in lines(view, 8)] == [[0, 2, 4, 6], [0, 2, 4, 6], [0, 2]]

    def test_right_to_left(self) -> None:
        """Letters of Hebrew here by their order: the first word is at the right end."""
        view = words("אבג דהו iPhone 15 Pro זחט")
        (line,) = lines(view, 40)
        assert [p.text for p in sorted(line, key=lambda p: p.column)] == ["זחט", "iPhone", "15", "Pro", "דהו", "אבג"]
        assert line[-1].column + 3 == 40
        (line,) = lines(words("the words אבג דהו end"), 40)
        assert [p.text for p in line] == ["the", "words", "דהו", "אבג", "end"]
        assert line[0].column == 0


class TestDrawings:
    def test_words_grounds_and_legend(self, tmp_path: Path) -> None:
        view = words("good bad none", [2.0, -1.0, 0.0])
        figure = draw(view, title="$x$", unit="points")
        assert isinstance(figure, Figure)
        texts = [t.get_text() for t in figure.axes[0].texts]
        assert texts[:3] == ["good", "bad", "none"]
        assert any("+2 for" in t and "\u22122 against (underlined)" in t for t in texts)
        grounds, lines_, _ = figure.axes[0].collections
        assert [round(c[3], 3) for c in grounds.get_facecolor()] == [DEEPEST, DEEPEST / 2]
        assert len(lines_.get_segments()) == 1
        figure.savefig(tmp_path / "x.png")

    def test_remarks(self) -> None:
        def said(view: Words, **options: Any) -> str:
            return " ".join(t.get_text() for t in draw(view, **options).axes[0].texts)

        assert "Every value is zero" in said(words("a", [0.0]))
        assert "1 values are not a number" in said(words("a b", [float("nan"), 1.0]))
        assert "strong" in said(words("a"), signed=False)
        assert "1 of the letters" in said(words("a \U0001f9ff"))
        assert "words are not drawn" in said(words("مرحبا " * 1500))

    def test_dark(self) -> None:
        figure = draw(words("a"), colours="dark")
        assert figure.get_facecolor()[:3] == pytest.approx(_rgb(PAPER[True][0]) / 255, abs=0.01)
        with pytest.raises(ValueError, match="'light' or 'dark'"):
            draw(words("a"), colours="viridis")

    @pytest.mark.parametrize("alphabet", ["film lovely the was ely! thích", "这部电影很好看", "مرحبا بالعالم film"])
    def test_ten_thousand_tokens_cost_what_their_number_says(self, alphabet: str, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        tokens = alphabet.split() if " " in alphabet else list(alphabet)
        calls, pages = [], []
        for count in (100, 1_000, 10_000):  # the first warms up: fonts are read once
            picked = [tokens[i] for i in rng.integers(0, len(tokens), count)]
            found = Attribution(torch.tensor(rng.standard_normal((1, count))), method="deeplift", tokens=[picked])
            with cProfile.Profile() as of_page:
                pages.append(found.to_html())
            with cProfile.Profile() as of_picture:
                plot(found).figure.savefig(tmp_path / f"{count}.png")
            calls.append([sum(line.callcount for line in of.getstats()) for of in (of_page, of_picture)])
        for less, more in zip(*calls[1:], strict=True):
            assert more < 20 * less  # of functions, for ten times the tokens
        assert len(pages[-1]) < 1_500_000


def test_written_words_carry_their_numbers() -> None:
    page = str(written(words("a b", [1.0, -0.5]), scale_of(np.array([1.0]))))
    assert '<span class="w pos l10" title="a: +1">a</span>' in page
    assert 'title="b: \u22120.5">b</span>' in page
    assert 'dir="auto"' in page
