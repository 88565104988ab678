"""The notebooks: what is stored in them can be read without running anything, and they run."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine import hub
from grader.curriculum import REPOSITORY

FOLDER = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MODEL = "smollm2-135m"
MOST_BYTES = 1_500_000
PATH = re.compile(r"(?<![\w.~}:/])/(?:\w[\w.-]*/)+\w|\b[A-Z]:\\\w")  # /a/b or C:\a: of the machine that ran it
CAPTION = re.compile(r"\*\*Figure (\d+)\.\*\* ")
SHARE = re.compile(r"\d ?%|\d ?[kMGT]i?B\b")
Cell = dict[str, Any]


def cells(path: Path) -> list[Cell]:
    return json.loads(path.read_text())["cells"]


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def printed(cell: Cell) -> str:
    return "".join("".join(output.get("text", "")) for output in cell.get("outputs", ()))


def pictures(cell: Cell) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))


def described(cell: Cell) -> str | None:
    """The alternative text of the cell's picture."""
    metadata = (output.get("metadata", {}).get("image/png", {}) for output in cell["outputs"])
    return next((m["alt"] for m in metadata if "alt" in m), None)


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["part1_weights", "part2_forward", "part3_generation"]


def check(notebook: list[Cell]) -> None:
    """A notebook after a whole run from top to bottom, in order, without a fault or a warning, and of no machine."""
    code = [cell for cell in notebook if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "not one run from top to bottom"
    for cell in code:
        for output in cell["outputs"]:
            where = source(cell)[:60]
            assert output["output_type"] in ("stream", "display_data"), f"{where!r}: {output['output_type']}"
            assert output.get("name") != "stderr", f"{where!r}: {printed(cell)}"
        assert cell["outputs"], f"{source(cell)[:60]!r} shows nothing"
        assert not (found := PATH.findall(printed(cell))), found
        assert pictures(cell) <= 1, "one picture a cell, so that each has its caption"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_whole(path: Path) -> None:
    notebook = cells(path)
    check(notebook)
    assert "NOT RUN" not in "".join(map(printed, notebook)), "stored without the model"
    assert sum(map(pictures, notebook)) >= 10
    assert path.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_picture_is_followed_by_what_it_shows(path: Path) -> None:
    number = 0
    notebook = cells(path)
    for cell, after in zip(notebook, [*notebook[1:], {}], strict=True):
        if pictures(cell):
            number += 1
            caption = CAPTION.match(source(after)) if after.get("cell_type") == "markdown" else None
            assert caption, f"no caption follows picture {number}"
            assert int(caption[1]) == number
            words = source(after).split("\n\n", 1)[0]
            assert len(words) > 100, f"Figure {number}: too little to stand for it"
            assert described(cell), f"Figure {number}: no alternative text; python notebooks/execute.py writes it"
            assert described(cell) == " ".join(re.sub(r"[*`]", "", words).split()), (
                "stored before its caption was changed"
            )
    prose = "".join(source(cell) for cell in notebook if cell["cell_type"] == "markdown")
    mentioned = {int(n) for n in re.findall(r"Figure (\d+)", prose)}
    assert mentioned == set(range(1, number + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_counted_and_measured_figures_stand_in_outputs_only(path: Path) -> None:
    for cell in cells(path):
        if cell["cell_type"] == "markdown":
            assert not (found := SHARE.findall(source(cell))), f"{found} in {source(cell)[:80]!r}"


GOOD = {
    "cell_type": "code", "execution_count": 1, "source": ["print(1)"],
    "outputs": [{"output_type": "stream", "name": "stdout", "text": ["1"]}],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"execution_count": 2},
        {"execution_count": None},
        {"outputs": []},
        {"outputs": [{"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}]},
        {"outputs": [{"output_type": "stream", "name": "stderr", "text": ["a warning"]}]},
        {"outputs": [{"output_type": "stream", "name": "stdout", "text": ["in /" + "opt/x/y.py"]}]},
    ],
    ids=["order", "never", "nothing", "error", "warning", "path"],
)
def test_poor_notebooks_are_found(change: Cell) -> None:
    check([GOOD])
    with pytest.raises(AssertionError):
        check([GOOD | change])


def test_paths_of_a_machine_are_recognised() -> None:
    for path in ("/" + "usr/lib/python3", "File /" + "srv/x.py", "C:\\Users"):
        assert PATH.search(path), path
    assert not PATH.search("delivered / used, days/day01/README.md, https://example.org/a/b, 3/4, Q/K/V")


def test_ci_runs_them() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    install, run_them = script.find("-e '.[notebooks]'"), script.find("-m pytest tests/test_notebooks.py")
    assert 0 < install < run_them


# ---- they run ----------------------------------------------------------------------------------------------------------


@cache
def execute() -> ModuleType:
    """`notebooks/execute.py`, which needs the extra."""
    spec = importlib.util.spec_from_file_location("execute_notebooks", FOLDER / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(path: Path, to: Path, environment: dict[str, str] | None = None) -> list[Cell]:
    """The cells after a run, stored elsewhere."""
    import nbformat

    copy = to / path.name
    nbformat.write(execute().executed(path, environment), copy)
    return cells(copy)


@pytest.mark.notebooks
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    if hub.find(MODEL) is None:
        pytest.skip(f"NOT RUN: the model is not here: python -m engine pull {MODEL}")
    ran, stored = run(path, tmp_path), cells(path)
    check(ran)
    assert "NOT RUN" not in "".join(map(printed, ran))
    assert [pictures(cell) for cell in ran] == [pictures(cell) for cell in stored]


@pytest.mark.notebooks
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_without_the_model_it_says_so_and_goes_on(path: Path, tmp_path: Path) -> None:
    ran = run(path, tmp_path, {"WARP60_HOME": str(tmp_path / "empty")})
    check(ran)
    for cell in ran:
        if cell["cell_type"] == "code":
            needs = source(cell).startswith("%%needs")
            said = printed(cell)
            assert needs == said.startswith("NOT RUN: ")
            assert not needs or f"python -m engine pull {MODEL}" in said
    assert sum(map(pictures, ran)) >= 5
