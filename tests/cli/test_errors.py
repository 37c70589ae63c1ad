"""Bad input gets one clear sentence and an exit code that scripts can use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from enodo.cli.commands import BAD_INPUT, DONE, FAILED, INTERRUPTED, USAGE, run

from .test_explain import FILE

SLOW = """
import time, torch
class Slow(torch.nn.Module):
    def forward(self, x):
        print("running", flush=True)
        time.sleep(100)
def model(): return Slow()
"""

# what is begun in the background of a shell ignores the signal
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "

TABLE = ["explain", "--model", "breast-cancer"]

BAD = [
    (["explain", "missing.jpg"], "'missing.jpg'; expected an image file"),
    (["explain", "words.png"], "It is not an image"),
    (["explain", "chelsey"], "Did you mean 'chelsea.png'"),
    (["explain", "chelsea", "--row", "1"], "An image file has no rows"),
    (["explain", "--model", "efficientnet"], "Did you mean 'efficientnet-lite0'"),
    (["explain", "--model", "minilm-sentiment"], "INPUT: got nothing"),
    (["explain", "missing.txt", "--model", "minilm-sentiment"], "No such file"),
    ([*TABLE, "--row", "600"], "a row from 0 to 568"),
    ([*TABLE, "--target", "malign"], "Did you mean 'malignant'"),
    ([*TABLE, "--target", "7"], "an index from 0 to 1"),
    ([*TABLE, "--method", "integrated_gradient"], "Did you mean 'integrated_gradients'"),
    ([*TABLE, "--wrt", "1.relu"], "wrt: got '1.relu'"),
    ([*TABLE, "--of", "4"], "of"),
    ([*TABLE, "--of", "1"], "--target: got 'predicted'; expected the index of a unit of '1'"),
    ([*TABLE, "--option", "step=3"], "Did you mean 'steps'"),
    ([*TABLE, "--option", "steps"], "KEY=VALUE"),
    ([*TABLE, "--samples", "3"], "--samples: got 3; expected an option of integrated_gradients"),
    ([*TABLE, "--steps", "0"], "steps"),
    ([*TABLE, "--option", "quadrature=gaus"], "gausslegendre"),
    ([*TABLE, "--baseline", "avrage"], "Did you mean 'average'"),
    ([*TABLE, "--batch-size", "many"], "a whole number or auto"),
    ([*TABLE, "--batch-size", "0"], "batch"),
    ([*TABLE, "--device", "cuda:99"], "a device of this machine: cpu"),
    ([*TABLE, "--device", "toaster"], "a device of this machine: cpu"),
    ([*TABLE, "--out", "report.doc"], "ends in .html"),
    ([*TABLE, "--out", "nowhere/report.html"], "mkdir -p nowhere"),
    (["explain", "x.json", "--model", "own.py:nan"], "answers NaN or infinity"),
    (["explain", "x.json", "--model", "own.py:dense"], "--target 0,1,2"),
    (["explain", "y.json", "--model", "own.py:plain"], "No such file"),
    (["explain", "names.csv", "--model", "own.py:plain"], "at least one row of numbers"),
    (["explain", "gap.csv", "--model", "own.py:plain"], "INPUT: got NaN or infinity in row 0 of gap.csv"),
    (["explain", "ids.npy", "--model", "own.py:plain"], "It answers torch.as_tensor(x, dtype=torch.float32)"),
    (["explain", "four.csv", "--model", "own.py:plain"], "at its layer 0, Linear(in_features=3, out_features=4"),
    (["inspect", "own.py:plain", "four.csv"], "is handed a float32 tensor of shape (1, 4)"),
    (["explain", "x.json", "--model", "own.py:plan"], "Did you mean 'plain'"),
    ([*TABLE, "--target", "\u00b2"], "expected 'predicted', an index"),
    ([*TABLE, "--target=--1"], "--target: got '--1'"),
    ([*TABLE, "--of", "0", "--target", "\u00b2"], "the index of a unit of '0'"),
    ([*TABLE, "--batch-size", "\u00b2"], "a whole number or auto"),
    ([*TABLE, "--baseline", "row:\u00b2"], "a number or one of"),
    ([*TABLE, "--method", "feature_ablation", "--features", "\u00b2"], "a number of blocks"),
    ([*TABLE, "--device", "meta"], "a device of this machine: cpu"),
    (["explain", "x" * 5000 + ".json", "--model", "own.py:plain"], "File name too long: 'xxx"),
    (["methods", "gradint"], "Did you mean 'gradient'"),
    (["inspect", "wages"], "Did you mean 'wage'"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(FILE)
    (tmp_path / "x.json").write_text("[[1, 2, 3]]")
    (tmp_path / "four.csv").write_text("1,2,3,4\n")
    (tmp_path / "names.csv").write_text("a,b,c\n")
    (tmp_path / "gap.csv").write_text("a;b;c\n1;nan;3\n")
    np.save(tmp_path / "ids.npy", np.ones((1, 3), dtype=np.int64))
    (tmp_path / "words.png").write_text("not an image at all")
    return tmp_path


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_gets_one_sentence(arguments, said, here, capsys) -> None:
    assert run(arguments) == BAD_INPUT
    out, err = capsys.readouterr()
    assert said in err
    assert err.startswith("enodo: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explan"], "explan"),
        (["explain", "--stepz", "3"], "--stepz"),
        (["explain", "--steps", "three"], "'--steps'"),
        (["explain", "--seed", "-1"], "greater than or equal to 0"),
        (["explain", "a", "b"], "unexpected extra argument"),
        (["inspect"], "Missing argument"),
    ],
)
def test_a_mistyped_command_is_code_2(arguments, said, capsys) -> None:
    assert run(arguments) == USAGE
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_an_error_of_the_model_is_told_and_traced_on_request(here, capsys) -> None:
    arguments = ["explain", "x.json", "--model", "own.py:breaks"]
    assert run(arguments) == FAILED
    err = capsys.readouterr().err
    assert "RuntimeError: a bug in the model" in err
    assert sys.version_info < (3, 11) or "a float32 tensor of shape (1, 3)" in err  # errors take no notes before
    assert "--debug" in err
    assert "Traceback" not in err
    for place in (["--debug", *arguments], [*arguments, "--debug"]):
        assert run(place) == FAILED
        assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_a_word(here) -> None:
    (here / "slow.py").write_text(SLOW)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    start = [
        sys.executable,
        "-c",
        INTERRUPTIBLE + "from enodo.cli import main; main()",
        "explain",
        "x.json",
        "--model",
        "slow.py:model",
    ]
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=here
    ) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert err == "enodo: interrupted\n"
    assert out == ""


@pytest.mark.parametrize(
    "arguments", [["methods"], ["methods", "--json"], ["explain", *TABLE[1:], "--json"]], ids=" ".join
)
def test_a_reader_that_goes_away_is_no_error(arguments) -> None:
    """As `enodo methods | head -1`."""
    start = [sys.executable, "-c", "from enodo.cli import main; main()", *arguments]
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (DONE, "")


def test_a_missing_package_is_named(here, capsys, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["explain", "--model", "wage"]) == USAGE
    assert "pip install --no-deps ISLP" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["explain", "chelsea", "--method", "vargrad", "--samples", "2", "--out", "r.html"]) == USAGE
    assert "matplotlib" in capsys.readouterr().err


def test_files_that_cannot_be_written_are_told(here, capsys) -> None:
    (here / "taken.html").mkdir()
    assert run([*TABLE, "--out", "taken.html"]) == BAD_INPUT
    assert "not a folder" in capsys.readouterr().err


def test_help_and_version(capsys) -> None:
    import enodo

    assert run(["--version"]) == DONE
    assert capsys.readouterr().out == f"enodo {enodo.__version__}\n"
    assert run(["--help"]) == DONE
    told = capsys.readouterr().out
    assert "130 interrupted" in " ".join(told.split())
    assert all(name in told for name in ("explain", "methods", "models", "inspect"))
    assert run(["explain", "--help"]) == DONE
    assert "--target" in capsys.readouterr().out
