"""Curves and agreement in a report: what is drawn and said is what was measured; any screen, either theme."""

from __future__ import annotations

import html
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from enodo.core.result import Attribution
from enodo.metrics import Curve, Curves
from enodo.show import curves as drawn
from enodo.show.evidence import Agreed, Evidence, Way, fragment
from enodo.show.html import Answer, Entry
from enodo.show.page import Page, report, shared
from enodo.show.sample import Sample

from .browser import opened, title_of
from .test_report import EVIL, Checked

STEPS = torch.tensor([[0.0, 0.5, 1.0]])
CONTROL = torch.tensor([[[0.8, 0.5, 0.0]], [[0.8, 0.3, 0.0]]])


def curve(kind: str, scores: list[float]) -> Curve:
    control = CONTROL if kind == "deletion" else CONTROL.flip(-1)
    return Curve(kind, STEPS, torch.tensor([scores]), control, STEPS)


GOOD = Curves(curve("deletion", [0.8, 0.1, 0.0]), curve("insertion", [0.0, 0.7, 0.8]))
BAD = Curves(curve("deletion", [0.8, 0.75, 0.0]), curve("insertion", [0.0, 0.1, 0.8]))
AGREED = Agreed(np.array([[1.0, -0.25], [-0.25, 1.0]]), np.array([[1.0, 0.5], [0.5, 1.0]]), 3, 0.2)


def evidence(*names: str, unit: str = "probability") -> Evidence:
    return Evidence(names, [Way(f"grey {EVIL}", [GOOD, BAD][: len(names)])], AGREED, f"9 parts {EVIL}", unit)


def points(markup: str, kind: str) -> list[tuple[float, float]]:
    found = re.search(rf'<polyline points="([^"]*)" class="{kind}"', markup)
    assert found is not None
    return [tuple(map(float, pair.split(","))) for pair in found[1].split()]


def test_lines_stand_where_the_scores_are() -> None:
    shown = drawn.fragment([GOOD.deletion, BAD.deletion], ["a", "b"], "probability")
    first, second, chance = (points(shown, kind) for kind in ("m0", "m1", "chance"))
    assert [x for x, _ in first] == pytest.approx([drawn.LEFT, (drawn.LEFT + 346) / 2, 346], abs=0.1)
    top, floor = first[0][1], first[-1][1]
    for line, middle in ((first, 0.1), (second, 0.75), (chance, 0.4)):
        assert line[1][1] == pytest.approx(floor + (top - floor) * middle / 0.8, abs=0.2)
    assert ">80%</text>" in shown
    assert "a 0.25; b 0.575; random order 0.4" in shown  # for who cannot see the lines
    assert ">\u22122</text>" in drawn.fragment([curve("deletion", [3, 0, -2])], ["a"], "score")


def test_areas_and_agreement_are_told_in_numbers_and_in_words() -> None:
    shown = " ".join(" ".join(Checked(fragment(evidence("first", EVIL))).text).split())
    assert "first 0.25 2 of 2 0.55 2 of 2" in shown
    assert f"{EVIL} 0.575 0 of 2 0.25 0 of 2" in shown
    assert "random order 0.4 \u00b1 0.0707 0.4 \u00b1 0.0707" in shown
    assert "the probability is 0.25 on average along the way; in random order 0.4 \u00b1 0.0707" in shown
    assert "\u22120.25 | 50%" in shown
    assert "know nothing of each other share 20%" in shown
    assert EVIL not in fragment(evidence("first", EVIL))


def test_a_method_alone_has_nothing_to_agree_with() -> None:
    assert "Do the methods agree" not in fragment(evidence("first"))
    assert "Do the methods agree" in fragment(evidence("first", "second"))


def test_curves_are_drawn_with_matplotlib() -> None:
    (ax,) = drawn.draw([GOOD.deletion, BAD.deletion], ["a", "b"], unit="probability").axes
    chance, first, second = ax.lines
    assert first.get_ydata().tolist() == pytest.approx([0.8, 0.1, 0.0])
    assert second.get_ydata().tolist() == pytest.approx([0.8, 0.75, 0.0])
    assert chance.get_ydata().tolist() == pytest.approx([0.8, 0.4, 0.0])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["random order: 0.4", "a: 0.25", "b: 0.575"]


def entry(values: list[float], **more) -> Entry:
    a = Attribution(torch.tensor([values]), method="integrated_gradients", scores=torch.tensor([1.0]))
    return Entry(a, "Integrated gradients", **more)


def page(**more) -> str:
    sample = Sample("table", "row 1", names=["alpha", "beta"], cells=["1", "2"])
    answers = [Answer("yes", 2.0, 0.7, True), Answer("no", 1.0, 0.3, True)]
    entries = [entry([1.0, -0.5], answer="yes"), entry([4.0, 0.5], answer="yes"), entry([-1.0, 0.5], answer="no")]
    given = {"evidence": {"yes": evidence("first", "second"), "no": evidence("first")}, "command": "enodo report"}
    return report(Page(sample, "It", answers, entries, **(given | more)))


def test_each_answer_has_its_methods_and_its_evidence() -> None:
    told = " ".join(" ".join(Checked(page()).text).split())
    assert "Why \u201cyes\u201d and \u201cno\u201d?" in told
    first, second = told.index("Why \u201cyes\u201d: what spoke"), told.index("Why \u201cno\u201d: what spoke")
    assert first < told.index("Can this be trusted?") < second
    assert told.count("Can this be trusted?") == 2
    assert "A picture whose line stays inside the grey band is no better than a guess." in told
    assert "A picture whose line" not in page(evidence={})


def test_one_scale_makes_bars_comparable() -> None:
    def widths(text: str) -> list[str]:
        return re.findall(r'<rect x="[^"]*" y="2" width="([^"]*)"', text)[2:5:2]

    assert widths(page(one_scale=True)) == ["25.0", "100.0"]  # of 1 and 4, the largest
    assert widths(page()) == ["100.0", "100.0"]


def test_one_scale_holds_for_texts_that_leave_out_added_tokens() -> None:
    def text(values: list[float]) -> Entry:
        a = Attribution(torch.tensor([values]), method="integrated_gradients", scores=torch.tensor([1.0]))
        return Entry(a, "Method")

    sample = Sample("text", "it", tokens=["a", "b"])
    short = Attribution(torch.tensor([[1.0, -2.0, 0.5]]), method="integrated_gradients", scores=torch.tensor([1.0]))
    other = Entry(short, "Longer")
    told = shared(Page(sample, "It", [], [text([8.0, -1.0]), other]), [text([8.0, -1.0]), other])
    assert told == {("points of score", True, False): {(2,): 8.0, (3,): 8.0}}


FRAMES = """<!doctype html><title>waiting</title>{frames}<script>
window.onload = () => {{ const told = [...document.querySelectorAll('iframe')].map(f => {{
  const d = f.contentDocument, high = e => e.getBoundingClientRect().height;
  return d.documentElement.scrollWidth - f.clientWidth + '/' + [...d.querySelectorAll('svg.curve')].filter(high).length;
}}); document.title = told.join(' '); }};
</script>"""


def test_no_screen_is_too_narrow(tmp_path: Path) -> None:
    """At every width the page fits, but for tables that scroll by themselves; and its curves are drawn."""
    frames = "".join(
        f'<iframe width="{w}" height="600" srcdoc="{html.escape(page())}"></iframe>' for w in (360, 800, 1300)
    )
    told = title_of(opened(FRAMES.format(frames=frames), tmp_path)).split()
    assert [t.split("/")[1] for t in told] == ["4", "4", "4"]
    assert all(int(t.split("/")[0]) <= 0 for t in told), told


def luminance(colour: str) -> float:
    found = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in found]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_and_lines_stand_out_in_both_themes(theme) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for what must be seen to understand a drawing."""
    style = resources.files("enodo.show").joinpath("report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.S)[theme]
    colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", block))
    for ground in ("card", "page"):
        assert all(contrast(colours[text], colours[ground]) >= 4.5 for text in ("ink", "soft", "accent"))
    for line in ("m0", "m1", "m2", "m3", "m4", "m5"):
        assert contrast(colours[line], colours["card"]) >= 3
        assert contrast(colours[line], colours["band"]) >= 2.5
