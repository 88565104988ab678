"""What the engine's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("WARP60_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
