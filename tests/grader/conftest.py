"""A copy of the repository that a test may do to as a learner does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.curriculum import REPOSITORY

ROOMS = ("days", "solutions", "grader", "engine", "kernels", "emulator", "curriculum.yaml")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """The rooms that grading needs, once."""
    root = tmp_path_factory.mktemp("pristine")
    for room in ROOMS:
        if (REPOSITORY / room).is_dir():
            shutil.copytree(REPOSITORY / room, root / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(REPOSITORY / room, root / room)
    return root


@pytest.fixture
def clone(tmp_path, pristine) -> Path:
    """A fresh copy in a folder whose name has a space and an umlaut."""
    root = tmp_path / "mein Kurs für später"
    shutil.copytree(pristine, root, symlinks=True)
    return root


@pytest.fixture
def command(clone) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m grader …` in the copy."""

    def run(*arguments: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "grader", *arguments],
            capture_output=True, text=True, cwd=clone, timeout=120, check=False,
            env={**os.environ, "WARP60_DEVICE": "cpu", "PYTHONPATH": str(clone), **(env or {})}, **options,
        )  # fmt: skip

    return run
