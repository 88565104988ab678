"""What the engine's tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from grader import small_tokenizer
from grader.curriculum import REPOSITORY
from grader.goldens import tiny

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}<|im_start|>"
VOCABULARY = len(small_tokenizer.token_bytes())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("WARP60_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A model that says something without a meaning; its text ends at <|im_end|>."""
    from safetensors.numpy import save

    path = tmp_path_factory.mktemp("models") / "tiny"
    path.mkdir()
    changed = {"vocab_size": VOCABULARY, "eos_token_id": small_tokenizer.ids_of("<|im_end|>")[0]}
    fields = {**tiny.QWEN3, **changed}
    (path / "config.json").write_text(json.dumps(fields))
    (path / "model.safetensors").write_bytes(save(tiny.weights("tiny-qwen3", 3, vocab_size=VOCABULARY)))
    for name, content in small_tokenizer.folder(template=TEMPLATE).files.items():
        (path / name).write_bytes(content)
    return path


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`python -m engine` with these arguments, on the CPU."""

    def started(*arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "engine", *arguments], cwd=REPOSITORY, input=given, capture_output=True, text=True,
            timeout=120, check=False, env={**os.environ, "WARP60_DEVICE": "cpu", **environment},
        )  # fmt: skip

    return started
