"""A test that cannot run is NOT RUN, with its reason, in the summary; any other skip is a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


def run(folder: Path, body: str, *arguments: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(f"import pytest\n\n{body}")
    (folder / "conftest.py").write_text(CONFTEST.read_text().replace("why_no_gpu,", "lambda: 'no GPU on the moon',"))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  gpu: needs one\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_markers_that_cannot_run_are_counted_by_reason(tmp_path):
    body = (
        "@pytest.mark.gpu\n@pytest.mark.parametrize('n', range(3))\ndef test_a(n): assert False\n\ndef test_b(): pass\n"
    )
    status, said = run(tmp_path, body)
    assert status == 0
    assert "1 passed, 3 skipped" in said
    summary = said[said.index("NOT RUN: these are not passes") :]
    assert "   3  no GPU on the moon" in summary


@pytest.mark.parametrize("how", ["pytest.skip('later')", "pytest.importorskip('no_such_module')"])
def test_a_skip_without_the_words_fails(tmp_path, how):
    status, said = run(tmp_path, f"def test_a():\n    {how}\n")
    assert status == 1
    assert "1 failed" in said
    assert "the reason must start with 'NOT RUN: '" in said


def test_a_skip_with_the_words_is_shown(tmp_path):
    status, said = run(tmp_path, "def test_a():\n    pytest.skip('NOT RUN: no tide')\n\ndef test_b(): pass\n")
    assert status == 0
    assert "   1  no tide" in said


def test_an_expected_failure_is_no_skip(tmp_path):
    status, said = run(tmp_path, "@pytest.mark.xfail(strict=True)\ndef test_a(): assert False\n")
    assert status == 0
    assert "1 xfailed" in said
    assert "NOT RUN" not in said


def test_what_is_not_selected_is_not_probed(tmp_path):
    body = "@pytest.mark.gpu\ndef test_a(): pass\n\ndef test_b(): pass\n"
    status, said = run(tmp_path, body, "-m", "not gpu")
    assert status == 0
    assert "1 passed, 1 deselected" in said
