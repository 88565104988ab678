"""A student edition: works by itself, gives nothing away, and never costs a learner what they wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from grader import edition, publish, stubs
from grader.commands.publish import publish as command
from grader.curriculum import REPOSITORY, days, find
from grader.publish import Outcome, Piece, PublishError

DAY = find("day07")


def files(root: Path) -> dict[str, str]:
    """Every file below a folder, and its text."""
    return {
        p.relative_to(root).as_posix(): p.read_text(errors="replace")
        for p in sorted(root.rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts
    }


def python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in an edition, as its owner runs it."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=120,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"WARP60_DEVICE": "cpu", "NO_COLOR": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """An edition up to day 7, without solutions."""
    root = tmp_path_factory.mktemp("x") / "Kurs für später"
    publish.publish(root, 7)
    return root


# ---- what is in it ---------------------------------------------------------------------------------------------------


def test_it_has_the_published_days_and_no_other(root):
    written = [d for d in days() if d.written and d.number <= 7]
    assert {p.name for p in (root / "days").iterdir()} == {d.folder_name for d in written}
    assert {p.stem for p in (root / "grader" / "checks").glob("day*.py")} == {d.name for d in written}
    assert not (root / "solutions").exists()
    assert (root / "curriculum.yaml").read_bytes() == (REPOSITORY / "curriculum.yaml").read_bytes()
    for day in written:
        for name, text in stubs.stub_files(day).items():
            assert (root / "days" / day.folder_name / name).read_text() == text
            assert (root / "stubs" / day.folder_name / name).read_text() == text


def test_nothing_in_it_is_of_somebody_or_made_by_a_run(root):
    names = files(root).keys()
    assert not [n for n in names if any(p.startswith(".") and p != ".gitignore" for p in Path(n).parts)]
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "results/", "build/"))]


def test_no_solution_is_given_away():
    """For every day that could be the cut, with the solutions of the days before it."""
    for day in days():
        if day.written:
            pieces = publish.contents(day.number, day.number - 1, Outcome())
            found = publish.leaks(pieces, publish.solved(day.number - 1))
            # A later stub may be given what an earlier day builds: who publishes both is warned.
            assert not [leak for leak in found if leak[1] >= day.number and not leak[0].startswith(("days/", "stubs/"))]


def test_a_header_goes_in_where_something_includes_it():
    header = Piece(b"#pragma once")
    pieces = {"kernels/used.cuh": header, "kernels/through.cuh": header, "kernels/secret.cuh": header}
    pieces["kernels/used.cuh"] = Piece(b'#include "through.cuh"')
    pieces["stubs/day01_x/kernel.cu"] = Piece(b'#include "used.cuh"  // given')
    assert publish._unused_headers(pieces) == ["kernels/secret.cuh"]


def test_a_leak_is_found():
    lesson = (DAY.solution / "kernel.cu").read_text()
    assert publish.leaks({"engine/copy.cu": Piece(lesson.encode())}, []) != []
    assert publish.leaks({"engine/copy.cu": Piece(lesson.encode())}, [d for d in days() if d.has_solution]) == []
    assert publish.leaks({"engine/copy.cu": Piece(stubs.stub_of(lesson, "x").encode())}, []) == []


def test_what_the_engine_can_import_it_still_can(root):
    """A stub has every name that other modules import."""
    code = """
import importlib, pkgutil, engine
for module in pkgutil.walk_packages(engine.__path__, "engine.", onerror=lambda name: None):
    try:
        importlib.import_module(module.name)
        print(module.name)
    except Exception as error:
        print(module.name, "FAILED", repr(error))
"""
    here, there = (python(place, "-c", code).stdout.splitlines() for place in (REPOSITORY, root))
    assert "engine.device" in there
    assert [line for line in there if "FAILED" in line] == [line for line in here if "FAILED" in line]


def test_a_withheld_kernel_says_so_and_does_not_compute_garbage(root):
    kernel = (root / "kernels" / "rmsnorm.cu").read_text()
    assert kernel.startswith('#error "left out of this edition: day 7 (rmsnorm) is where you write it')


def test_links_in_its_pages_lead_somewhere(root):
    import re

    for page in root.rglob("*.md"):
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
            assert ":" in target or (page.parent / target).exists(), f"{page}: {target}"


# ---- it works --------------------------------------------------------------------------------------------------------


def test_the_map_says_what_is_not_published(root):
    done = python(root, "-m", "grader")
    assert done.returncode == 0, done.stderr
    assert "8 matvec                 not published yet" in done.stdout
    assert "7 rmsnorm                to do" in done.stdout
    assert "in this edition" in done.stdout


GRADE = """
import json, sys
from pathlib import Path
from grader.curriculum import find
from grader.grade import GraderError, grade
day = find("day07")
try:
    reports = [grade(day, Path(folder), device="cpu", seed=1).as_json() for folder in sys.argv[1:]]
    grade(day, day.solution, device="cpu", seed=1)
except GraderError as error:
    print(json.dumps({"reports": reports, "solution": str(error)}))
"""


def test_grading_without_the_reference(root, tmp_path):
    """The stub, a lesson without its kernel, a solved one, a wrong one: none of them crashes the grader."""
    solved = {name: stubs.unmarked((DAY.solution / name).read_text()) for name in DAY.files}
    kernel = solved["kernel.cu"]
    lessons = {
        "stub": stubs.stub_files(DAY),
        "kernel": {**solved, "kernel.cu": stubs.stub_files(DAY)["kernel.cu"]},
        "solved": solved,
        "wrong": {**solved, "kernel.cu": kernel.replace("i < hidden; i +=", "i < hidden / 32 * 32; i +=")},
    }
    for name, texts in lessons.items():
        (tmp_path / name).mkdir()
        for file, text in texts.items():
            (tmp_path / name / file).write_text(text)
    done = python(root, "-c", GRADE, *(str(tmp_path / name) for name in lessons))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    reports = dict(zip(lessons, answer["reports"], strict=True))
    assert {k: r["verdict"] for k, r in reports.items()} == {
        "stub": "NOT_SOLVED", "kernel": "NOT_SOLVED", "solved": "PASSED", "wrong": "WRONG",
    }  # fmt: skip
    assert "kernel.cu is as it was" in reports["kernel"]["checks"][-1]["detail"]
    costs = next(c for c in reports["solved"]["checks"] if c["name"] == "memory traffic")
    assert costs["verdict"] == "NOT_RUN"
    assert "this edition leaves out the solution" in costs["detail"]
    assert costs["figures"]["mine"]["global bytes"] > 0
    assert "no solution" in answer["solution"]


PIECE = """

whole = reduce_rows
def reduce_rows(name, x):
    from engine.ops.rmsnorm import rmsnorm
    row = device.xp.ones((1, 32), np.float32)
    rmsnorm(row, row[0], 1e-5)
    return whole(name, x)
"""
NEXT = """
import json
from grader import progress
from grader.curriculum import find
from grader.grade import grade
day, piece = find("day06"), find("day07")
reports = [grade(day, day.lesson, device="cpu", seed=1)]
progress.record(piece, piece.lesson, "cpu", 1)
reports.append(grade(day, day.lesson, device="cpu", seed=1))
print(json.dumps([r.as_json() for r in reports]))
"""


def test_a_lesson_runs_on_the_learners_own_piece_where_the_engines_is_left_out(root):
    own = {}
    for day, more in ((find("day06"), PIECE), (DAY, "")):
        for name in day.files:
            place = root / "days" / day.folder_name / name
            own[place] = place.read_text()
            text = stubs.unmarked((day.solution / name).read_text())
            place.write_text(text + more * (name == "lesson.py"))
    try:
        done = python(root, "-c", NEXT)
        assert done.returncode == 0, done.stderr
        without, with_piece = json.loads(done.stdout)
        assert without["verdict"] == "NOT_SOLVED"
        assert without["checks"][0]["detail"].startswith("day 7:")
        assert with_piece["verdict"] == "PASSED", with_piece
    finally:
        for place, text in own.items():
            place.write_text(text)
        shutil.rmtree(root / ".warp60")


def test_a_solution_that_is_asked_for_is_there_and_is_the_engines_file(tmp_path):
    done = publish.publish(tmp_path / "e", 7, 7)
    assert "kernels/rmsnorm.cu" not in done.withheld
    assert all(max(d.number for d in publish.owners()[name]) > 7 for name in done.withheld)
    kernel = tmp_path / "e" / "solutions" / DAY.folder_name / "kernel.cu"
    assert kernel.is_symlink()
    assert kernel.resolve() == (tmp_path / "e" / "kernels" / "rmsnorm.cu").resolve()
    assert kernel.read_text() == (DAY.solution / "kernel.cu").read_text()
    assert (tmp_path / "e" / "solutions" / DAY.folder_name / "mutants.yaml").is_file()


def test_a_solution_in_one_file_with_a_later_day_s_stays_out(monkeypatch):
    first, second = [d for d in days() if d.written][:2]
    monkeypatch.setattr(publish, "owners", lambda: {"engine/both.py": [first, second]})
    assert first not in publish.solved(first.number)
    assert first in publish.solved(second.number)


def test_an_edition_neither_writes_stubs_nor_publishes(root):
    done = python(root, "-m", "grader", "stubs")
    assert done.returncode == 2
    assert "student edition" in done.stderr
    done = python(root, "-c", "from pathlib import Path; from grader.publish import publish; publish(Path('/x'), 7)")
    assert "this is a student edition itself" in done.stderr


# ---- publishing again ------------------------------------------------------------------------------------------------


@pytest.fixture
def course(monkeypatch):
    """What is published, as a dict that a test changes."""
    pieces = {
        "days/day07_rmsnorm/lesson.py": b"stub 1\n",
        "days/day07_rmsnorm/kernel.cu": b"kernel 1\n",
        "grader/x.py": b"x 1\n",
        "solutions/a.py": b"solution\n",
    }
    monkeypatch.setattr(
        publish, "contents", lambda *_: {k: v if isinstance(v, Piece) else Piece(v) for k, v in pieces.items()}
    )
    return pieces


LESSON = "days/day07_rmsnorm/lesson.py"


def test_again_updates_what_was_not_edited_and_leaves_the_rest(course, tmp_path):
    to = tmp_path / "mein Kurs"
    assert len(publish.publish(to, 7).new) == 4
    again = publish.publish(to, 7)
    assert (again.new, again.updated, again.kept, again.removed) == ([], [], [], [])
    (to / LESSON).write_text("mine\n")
    (to / ".warp60").mkdir()
    (to / ".warp60" / "progress.json").write_text("{}")
    (to / "days" / "notes.txt").write_text("my notes")
    (to / "days/day07_rmsnorm/kernel.cu").unlink()
    course[LESSON] = b"stub 2\n"
    course["grader/x.py"] = b"x 2\n"
    course["days/day08_matvec/lesson.py"] = b"new day\n"
    del course["solutions/a.py"]
    third = publish.publish(to, 8)
    assert third.kept == [LESSON]
    assert third.updated == ["grader/x.py"]
    assert third.removed == ["solutions/a.py"]
    assert third.new == ["days/day07_rmsnorm/kernel.cu", "days/day08_matvec/lesson.py"]
    assert (to / LESSON).read_text() == "mine\n"
    assert (to / "days" / "notes.txt").read_text() == "my notes"
    assert (to / ".warp60" / "progress.json").read_text() == "{}"
    assert not (to / "solutions").exists()
    assert publish.publish(to, 8).kept == [LESSON], "it is still edited"
    (to / LESSON).write_text("stub 1\n")
    assert publish.publish(to, 8).updated == [LESSON], "it is what was published once more"


def test_force_replaces_and_keeps_a_copy(course, tmp_path):
    publish.publish(tmp_path / "e", 7)
    for round_ in ("one", "two"):
        (tmp_path / "e" / LESSON).write_text(round_)
        publish.publish(tmp_path / "e", 7, force=True)
    assert (tmp_path / "e" / LESSON).read_text() == "stub 1\n"
    assert (tmp_path / "e" / f"{LESSON}.bak").read_text() == "one"
    assert (tmp_path / "e" / f"{LESSON}.bak2").read_text() == "two"


def test_an_edited_file_that_is_withdrawn_stays(course, tmp_path):
    publish.publish(tmp_path / "e", 7)
    (tmp_path / "e" / "solutions/a.py").write_text("edited")
    del course["solutions/a.py"]
    assert publish.publish(tmp_path / "e", 7).kept == ["solutions/a.py"]
    assert (tmp_path / "e" / "solutions/a.py").read_text() == "edited"


def test_an_interruption_leaves_nothing_that_looks_edited(course, tmp_path, monkeypatch):
    publish.publish(tmp_path / "e", 7)
    course.update({LESSON: b"stub 2\n", "days/day07_rmsnorm/kernel.cu": b"kernel 2\n", "grader/x.py": b"x 2\n"})
    whole, count = publish._put, iter(range(100))

    def failing(path, piece):
        if next(count) == 2:
            raise OSError(28, "No space left on device", str(path))
        whole(path, piece)

    monkeypatch.setattr(publish, "_put", failing)
    with pytest.raises(PublishError, match="No space left on device; run it again"):
        publish.publish(tmp_path / "e", 7)
    monkeypatch.setattr(publish, "_put", whole)
    assert publish.publish(tmp_path / "e", 7).kept == []
    assert (tmp_path / "e" / LESSON).read_text() == "stub 2\n"
    course[LESSON] = b"stub 3\n"
    assert publish.publish(tmp_path / "e", 7).updated == [LESSON]


def test_it_never_writes_out_of_the_folder(course, tmp_path):
    publish.publish(tmp_path / "e", 7)
    outside = tmp_path / "outside"
    shutil.move(tmp_path / "e" / "days", outside)
    (tmp_path / "e" / "days").symlink_to(outside)
    course[LESSON] = b"stub 2\n"
    assert LESSON in publish.publish(tmp_path / "e", 7, force=True).kept
    assert (outside / "day07_rmsnorm" / "lesson.py").read_text() == "stub 1\n"


@pytest.mark.parametrize("odd", ["folder", "pipe", "link"])
def test_odd_things_in_a_file_s_place_are_left_alone(course, tmp_path, odd):
    publish.publish(tmp_path / "e", 7)
    place = tmp_path / "e" / LESSON
    place.unlink()
    match odd:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case _:
            (tmp_path / "elsewhere").write_text("mine")
            place.symlink_to(tmp_path / "elsewhere")
    assert publish.publish(tmp_path / "e", 7).kept == [LESSON]
    if odd == "link":
        assert (tmp_path / "elsewhere").read_text() == "mine"


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_folders_that_are_something_else_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for place, words in (
        (tmp_path / "full", "something else"),
        (tmp_path / "file", "something else|Not a directory"),
        (REPOSITORY / "edition", "outside of this checkout"),
        (REPOSITORY.parent, "outside of this checkout"),
    ):
        with pytest.raises(PublishError, match=words):
            publish.publish(place, 7, force=True)
    assert files(tmp_path) == {"full/thesis.tex": "precious", "file": "precious"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "cannot be read"), ("[]", "expected an object"), ('{"up_to": "7"}', "'up_to' is '7': expected int")],
)
def test_a_broken_edition_names_the_key(tmp_path, text, words):
    (tmp_path / edition.NAME).write_text(text)
    with pytest.raises(PublishError, match=words):
        publish.publish(tmp_path, 7)
    assert (tmp_path / edition.NAME).read_text() == text


def test_the_command(tmp_path):
    app = typer.Typer()
    app.command()(command)
    runner = CliRunner()
    done = runner.invoke(app, ["day07", str(tmp_path / "e")])
    assert done.exit_code == 0, done.output
    assert "days 1 to 7" in done.output
    assert (
        "kernels/rmsnorm.cu"
        in done.output.split("left out of the engine, since a learner writes it: ")[1].splitlines()[0]
    )
    (tmp_path / "e" / LESSON).write_text("mine")
    done = runner.invoke(app, ["day07", str(tmp_path / "e")])
    assert f"left alone, since it was edited: {LESSON}" in done.output
    assert "the new stubs are in stubs/" in done.output
    for arguments, words in (
        (["day99", str(tmp_path / "f")], "there is no day"),
        (["day07", str(tmp_path / "f"), "--solutions-up-to", "9"], "solutions up to day 9 in an edition up to day 7"),
        (["day07", str(tmp_path)], "something else"),
    ):
        done = runner.invoke(app, arguments)
        assert done.exit_code == 2
        assert words in done.output
    assert not (tmp_path / "f").exists()
