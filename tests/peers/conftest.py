"""What the tests of the peers have in common."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import record
from grader.goldens import tiny
from tests.peers.made import WIDE


@pytest.fixture(autouse=True)
def started_as_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(record.REPOSITORY / "benchmarks/peers/__main__.py"), "--prompt", "9"])


@pytest.fixture
def folder(on_cpu, tmp_path):
    """A tiny model's folder."""
    from safetensors.numpy import save_file

    on_cpu.setenv("WARP60_HOME", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({**tiny.LLAMA, **WIDE}))
    save_file(tiny.weights("tiny-llama", **WIDE), tmp_path / "model.safetensors")
    return tmp_path
