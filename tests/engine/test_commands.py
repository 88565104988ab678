"""`python -m engine logits`: what it writes, and how bad input ends."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from engine import evaluate, model
from grader.curriculum import REPOSITORY
from tests.engine.tiny_gguf import make_gguf


def run(*arguments, text=""):
    return subprocess.run(
        [sys.executable, "-m", "engine", *map(str, arguments)],
        input=text, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def tiny(tmp_path):
    make_gguf(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


def test_logits_are_written_as_float32(tiny, tmp_path):
    out = tmp_path / "logits.npy"
    done = run("logits", tiny, "hello", "--out", out, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "cpu (emulated CUDA)" in done.stdout
    last = np.load(out)
    assert (last.dtype, last.ndim) == (np.float32, 1)
    done = run("logits", tiny, "-", "--out", out, "--all-positions", "--device", "cpu", text="hello")
    assert done.returncode == 0, done.stderr
    every = np.load(out)
    assert every.shape == (len(every), *last.shape)
    assert np.allclose(every[-1], last, rtol=1e-4, atol=1e-5)
    assert np.array_equal(last, evaluate.logits(model.load(tiny), tokens(tiny, "hello")))


def tokens(path, text):
    from tokenizers import Tokenizer

    from engine import gguf_model

    return Tokenizer.from_str(gguf_model.GGUFModel(path).tokenizer()[0]).encode(text).ids


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("{model}", "", "--out", "{out}"), "the prompt is empty", 1),
        (("{model}", "he " * 200, "--out", "{out}"), "expected at most 128, the model's context", 1),
        (("{model}", "hi", "--out", "{out}/nowhere/x.npy"), "there is no folder", 1),
        (("nosuch", "hi", "--out", "{out}"), "python -m engine pull nosuch", 1),
        (("nosuch.gguf", "hi", "--out", "{out}"), "no such file", 1),
        (("{model}", "hi", "--out", "{out}", "--device", "tpu"), "expected 'cuda' or 'cpu'", 1),
        (("{model}", "hi"), "--out", 2),
        (("{folder}", "hi", "--out", "{out}"), "not a model folder; missing", 1),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tiny, tmp_path, arguments, words, status):
    out = tmp_path / "out.npy"
    filled = [a.format(model=tiny, out=out, folder=tmp_path) for a in arguments]
    done = run("logits", *filled)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*out.npy*"))


def test_compare_without_its_peer_says_how_to_get_it(tiny):
    import importlib.util

    if importlib.util.find_spec("transformers") is not None:
        pytest.skip("NOT RUN: Transformers is installed here")
    done = run("compare", tiny, "hello", "--device", "cpu")
    assert done.returncode == 1
    assert "pip install -e '.[goldens]'" in done.stderr
