"""Nothing of a learner's is lost: reset, diff, stale passes, folders that cannot be written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

DAY = "day07_rmsnorm"


def solve(clone: Path, day: str = DAY) -> None:
    for name in ("lesson.py", "kernel.cu"):
        if (clone / "solutions" / day / name).exists():
            (clone / "days" / day / name).write_text((clone / "solutions" / day / name).read_text())


def test_reset_keeps_a_backup(clone, command):
    lesson = clone / "days" / DAY / "lesson.py"
    stub = lesson.read_text()
    lesson.write_text("# my work\n")
    done = command("reset", "day07", "--yes")
    assert done.returncode == 0, done.stderr
    assert lesson.read_text() == stub
    backups = list((clone / ".warp60" / "backups").rglob("lesson.py"))
    assert [b.read_text() for b in backups] == ["# my work\n"]
    assert str(backups[0].parent) in done.stdout.replace("\n", "")


def test_reset_of_a_stub_does_nothing(clone, command):
    done = command("reset", "day07", "--yes")
    assert done.returncode == 0
    assert "already" in done.stdout
    assert not (clone / ".warp60").exists()


def test_reset_asks_and_where_nobody_can_answer_it_refuses(clone, command):
    lesson = clone / "days" / DAY / "lesson.py"
    lesson.write_text("# my work\n")
    done = command("reset", "day07", stdin=None, input="y\n")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert lesson.read_text() == "# my work\n"


def test_reset_twice_in_a_second_keeps_both(clone, command):
    for text in ("# one\n", "# two\n"):
        (clone / "days" / DAY / "lesson.py").write_text(text)
        assert command("reset", "day07", "--yes").returncode == 0
    kept = sorted(b.read_text() for b in (clone / ".warp60" / "backups").rglob("lesson.py"))
    assert kept == ["# one\n", "# two\n"]


def test_reset_without_room_for_a_backup_touches_nothing(clone, command):
    lesson = clone / "days" / DAY / "lesson.py"
    lesson.write_text("# my work\n")
    (clone / "blocked").write_text("a file where a folder is needed")
    done = command("reset", "day07", "--yes", env={"WARP60_PROGRESS": str(clone / "blocked" / "progress.json")})
    assert done.returncode == 2
    assert "as they were" in done.stderr
    assert lesson.read_text() == "# my work\n"


def test_diff_waits_for_a_pass_unless_told_otherwise(clone, command):
    done = command("diff", "day07")
    assert done.returncode == 2
    assert "--spoil" in done.stderr
    done = command("diff", "day07", "--spoil")
    assert done.returncode == 0
    assert "+    rows, hidden = x.shape" in done.stdout
    assert "solve: begin" not in done.stdout


def test_a_pass_is_noted_goes_stale_and_opens_the_diff(clone, command):
    solve(clone)
    assert command("day07").returncode == 0
    assert "1 of 60 days" in command().stdout
    assert command("diff", "day07").returncode == 0
    with (clone / "days" / DAY / "lesson.py").open("a") as lesson:
        lesson.write("# an afterthought\n")
    said = command().stdout
    assert "edited since it passed" in said
    assert "0 of 60 days" in said


def test_grading_where_nothing_can_be_written(clone, command):
    if os.geteuid() == 0:
        pytest.skip("NOT RUN: root may write everywhere")
    solve(clone)
    for folder in (clone, clone / "days" / DAY):
        folder.chmod(0o555)
    try:
        done = command("day07")
        assert done.returncode == 0
        assert "could not be noted" in done.stderr
    finally:
        clone.chmod(0o755)
        (clone / "days" / DAY).chmod(0o755)


def test_progress_that_cannot_be_written_is_said_and_the_verdict_stands(clone, command):
    solve(clone)
    (clone / ".warp60").write_text("a file where a folder is needed")
    done = command("day07")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "your progress could not be noted" in done.stderr


def test_a_lesson_file_that_is_missing_is_named(clone, command):
    (clone / "days" / DAY / "kernel.cu").unlink()
    done = command("day07")
    assert done.returncode == 2
    assert "kernel.cu: no such file" in done.stderr
    assert command("reset", "day07", "--yes").returncode == 0
    assert command("day07").returncode == 3


def test_a_lesson_that_is_no_text_is_refused_in_words(clone, command):
    (clone / "days" / DAY / "lesson.py").write_bytes(b"\xff\xfe\x00garbage")
    done = command("day07")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_solutions_may_be_absent(clone, command):
    solve(clone)
    shutil.rmtree(clone / "solutions" / DAY)
    done = command("day07", "--solution")
    assert done.returncode == 2
    assert "no solution" in done.stderr
