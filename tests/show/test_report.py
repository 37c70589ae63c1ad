"""The report: self-contained, escaped, well formed, and true in its sentences."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from enodo.core.errors import BadArgument
from enodo.core.result import Attribution
from enodo.show.html import Answer, Entry
from enodo.show.markup import EMPTY, Markup, el, join
from enodo.show.page import Page, report
from enodo.show.sample import Sample
from enodo.show.words import balance, is_signed, noise, unit_of

EVIL = '<img src=x onerror="alert(1)">'
PHOTO = np.zeros((56, 56, 3), dtype=np.uint8)


class Checked(HTMLParser):
    """Collects tags, and refuses any that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)


def result(values, **more) -> Attribution:
    facts = {
        "method": "integrated_gradients", "scores": torch.tensor([3.0]), "baseline_scores": torch.tensor([1.0]),
        "delta": torch.tensor([-0.02]), "options": {"steps": 50}, "versions": {"enodo": "1"}, "model": EVIL,
    }  # fmt: skip
    return Attribution(torch.as_tensor(values), **(facts | more))


def page(sample: Sample, values, **more) -> str:
    entry = Entry(result(values, notes=[EVIL]), f"Method {EVIL}", EVIL, EVIL, f"a baseline {EVIL}")
    answers = [Answer(f"cat {EVIL}", 3.0, 0.6, True), Answer("dog", 2.9, 0.4)]
    given = {"sample": sample, "model": EVIL, "answers": answers, "entries": [entry], "facts": EVIL, "command": EVIL}
    return report(Page(**(given | more)))


SAMPLES = {
    "text": (Sample("text", EVIL, tokens=["[CLS]", EVIL, "##" + EVIL], note=EVIL), [[1.0, -2.0, 0.5]]),
    "table": (Sample("table", EVIL, names=[EVIL, "b"], cells=[EVIL, "2"], truth=EVIL), [[1.0, -2.0]]),
    "image": (Sample("image", EVIL, photo=PHOTO, note=EVIL), np.random.default_rng(0).standard_normal((1, 3, 56, 56))),
    "layer": (Sample("image", EVIL, photo=PHOTO), np.random.default_rng(0).standard_normal((1, 8, 7, 7))),
    "tensor": (Sample("tensor", EVIL), np.random.default_rng(0).standard_normal((1, 1200))),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_what_came_from_data_is_escaped(kind) -> None:
    text = page(*SAMPLES[kind])
    parsed = Checked(text)
    assert EVIL not in text
    assert any(EVIL in part for part in parsed.text)
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "iframe", "link", "object", "embed", "form"})


@pytest.mark.parametrize("kind", SAMPLES)
def test_nothing_is_loaded_from_elsewhere(kind) -> None:
    text = page(*SAMPLES[kind])
    for _, attrs in Checked(text).tags:
        for name in ("src", "href", "srcset"):
            assert attrs.get(name, "data:image/").startswith("data:image/")
        assert "style" not in attrs
    assert "@import" not in text
    assert "url(" not in text


def test_the_policy_allows_this_style_sheet_and_no_script() -> None:
    text = page(*SAMPLES["table"])
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    policy = next(a["content"] for t, a in Checked(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy


def test_the_page_says_what_is_explained() -> None:
    sample = Sample("text", "the sentence", tokens=["good", "film"])
    entry = Entry(result([[1.5, 0.48]]), "Integrated gradients", baseline="no words")
    text = report(Page(sample, "The model", [Answer("yes", 3.0, 0.52, True), Answer("no", 2.9, 0.48)], [entry]))
    told = " ".join(" ".join(Checked(text).text).split())
    assert "Why \u201cyes\u201d?" in told
    assert "a probability of 52.0%" in told
    assert "A close call: \u201cno\u201d has 48.0%." in told
    assert "compared with no words" in told
    assert "a difference of +2 points. The parts add up to +1.98; 1.00% of the difference is unaccounted for." in told
    assert "+1.5" in told


def test_a_class_that_was_not_chosen_is_told_so() -> None:
    entry = Entry(result([[1.0]]), "M")
    answers = [Answer("yes", 3.0, 0.9), Answer("no", 1.0, 0.1, True)]
    text = report(Page(Sample("tensor", "x"), "The model", answers, [entry]))
    assert "Its own first choice is \u201cyes\u201d (90.0%)." in text


def test_a_regression_is_told_in_its_unit() -> None:
    entry = Entry(result([[1.0]]), "M")
    text = report(
        Page(
            Sample("table", "row 1", names=["a"], cells=["1"]),
            "It",
            [Answer("the answer", 71.26, None, True)],
            [entry],
            unit="kg",
        )
    )
    assert "Why 71.26 kg?" in text
    assert "It answers 71.26 kg for row 1." in text


def test_an_unfinished_sum_is_a_warning() -> None:
    told = balance(result([[1.0]], delta=torch.tensor([-0.5])), "x", "y")
    assert "25.00% of the difference" in told
    assert "take more steps" in told
    sampled = result([[1.0]], delta=torch.tensor([-0.5]), options={"samples": 5})
    assert "draw more samples" in balance(sampled, "x", "y")
    assert "does not promise" in balance(result([[1.0]], delta=None), "x", "y")
    exact = balance(result([[1.0]], delta=torch.tensor([1e-7])), "x", "y")
    assert "less than 0.01%" in exact


def test_strength_without_sign_is_read_differently() -> None:
    sample, answers = Sample("image", "x", photo=PHOTO), [Answer("x", 1.0, 1.0, True)]
    strong = Entry(result(np.ones((1, 3, 56, 56)), method="vargrad"), "VarGrad")
    text = report(Page(sample, "It", answers, [strong]))
    assert "0 weak" in text
    assert "red area" not in text
    assert "Why: what mattered" in text
    both = report(Page(sample, "It", answers, [strong, Entry(result(np.ones((1, 3, 56, 56))), "IG")]))
    assert "A red area raised" in both
    assert "not which way" in both


def test_sampling_noise_is_told() -> None:
    told = noise(result([[2.0, -4.0]], stderr=torch.tensor([[0.1, 0.3]])))
    assert told == "Drawn by chance: a typical value is 3, with a standard error of 0.2."
    assert noise(result([[1.0]])) is None


@pytest.mark.parametrize(
    ("method", "options", "unit"),
    [
        ("integrated_gradients", {}, "points of score"), ("gradient", {}, "points of score per unit of input"),
        ("smoothgrad", {"inner": "gradient"}, "points of score per unit of input"), ("activation", {}, "activation"),
        ("vargrad", {"inner": "input_x_gradient"}, "variance of (points of score)"),
        ("smoothgrad_sq", {"inner": "saliency"}, "(points of score per unit of input) squared"),
        ("attention_rollout", {}, "share of attention"),
    ],
)  # fmt: skip
def test_units(method, options, unit) -> None:
    assert unit_of(result([[1.0]], method=method, options=options)) == unit


def test_what_has_no_sign_is_not_for_or_against() -> None:
    """Attention and class activation maps say how much, unless negative parts were asked for."""
    for method in ("raw_attention", "grad_cam", "full_grad", "activation"):
        assert not is_signed(result([[1.0]], method=method), np.array([1.0, 0.0]))
        assert is_signed(result([[1.0]], method=method), np.array([1.0, -1.0]))
    assert is_signed(result([[1.0]], method="integrated_gradients"), np.array([1.0]))
    assert not is_signed(result([[1.0]], method="gradient", options={"absolute": True}), np.array([1.0]))


def test_elements_escape_all_but_markup() -> None:
    assert (
        el("p", "<b>", Markup("<i>"), None, ["&"], class_="a", title='"')
        == '<p class="a" title="&quot;">&lt;b&gt;<i>&amp;</p>'
    )
    assert el("img", alt="<", hidden=None) == '<img alt="&lt;">'
    assert join(3, "<") == "3&lt;"


def test_an_attribution_is_a_page() -> None:
    text = result([[1.0, -2.0]], feature_names=[EVIL, "b"]).to_html()
    parsed = Checked(text)
    assert EVIL not in text
    assert any(EVIL in part for part in parsed.text)
    assert "Integrated gradients" in text


def test_a_notebook_shows_it_in_a_frame_of_its_own() -> None:
    text = result([[1.0, -2.0]], feature_names=[EVIL, "b"])._repr_html_()
    ((tag, attrs),) = Checked(text).tags
    assert tag == "iframe"
    assert attrs["sandbox"] == ""
    assert attrs["srcdoc"] == result([[1.0, -2.0]], feature_names=[EVIL, "b"]).to_html()
    assert Attribution((torch.ones(0, 2),))._repr_html_() is None


def test_one_of_several_targets_is_shown() -> None:
    both = result(
        [[[1.0, 2.0]], [[3.0, 4.0]]],
        scores=torch.tensor([[3.0], [5.0]]),
        baseline_scores=torch.tensor([[0.0], [1.0]]),
        delta=torch.zeros(2, 1),
    )
    assert [patch.get_width() for patch in both.plot(target=1).axes.patches] == [3.0, 4.0]
    assert "is 5 here and 1 for" in both.to_html(target=1)
    assert "is 3 here and 0 for" in both.to_html()
    with pytest.raises(BadArgument, match="2 targets"):
        both.plot(target=2)


def test_three_methods_on_a_photo_stay_small() -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    entries = [Entry(result(rng.standard_normal((1, 3, 64, 64))), f"Method {i}") for i in range(3)]
    text = report(Page(Sample("image", "noise.png", photo=photo), "It", [Answer("x", 1.0, 1.0, True)], entries))
    assert len(text) < 120_000
