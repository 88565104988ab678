"""Days that build on other days run on the learner's own pieces where these have passed, and say so."""

from __future__ import annotations

import json

import pytest

from engine import pieces
from grader.curriculum import days


def solve(clone, day: str) -> None:
    for path in (clone / "days" / day).iterdir():
        if path.name != "README.md":
            path.write_text((clone / "solutions" / day / path.name).read_text())


def test_every_piece_of_a_written_day_is_a_module_of_the_engine():
    written = [day for day in days() if day.written and day.piece]
    assert {day.piece for day in written} <= set(pieces.PIECES)
    for day in written:
        module = pieces.module_name(day.piece)
        assert (day.solution / "lesson.py").resolve().with_suffix("").as_posix().endswith(module.replace(".", "/"))


def test_unknown_pieces_are_refused():
    with pytest.raises(pieces.PieceError, match="no piece 'nonsense'"):
        pieces.module_name("nonsense")


def test_a_passed_piece_is_the_learners_and_the_rest_the_references(clone, command):
    for day in ("day07_rmsnorm", "day08_matvec", "day16_decoder_layer"):
        solve(clone, day)
    assert command("7-8").returncode == 0
    done = command("day16", "--json")
    used = json.loads(done.stdout)["pieces"]
    assert (used["rmsnorm"], used["matvec"], used["attention"]) == ("yours", "yours", "reference")
    assert "decoder_layer" not in used
    assert "yours: matvec, rmsnorm; reference: attention" in " ".join(command("day16").stdout.split())


def test_a_passed_piece_that_was_edited_is_the_references_again(clone, command):
    for day in ("day07_rmsnorm", "day16_decoder_layer"):
        solve(clone, day)
    assert command("7").returncode == 0
    with (clone / "days" / "day07_rmsnorm" / "lesson.py").open("a") as lesson:
        lesson.write("\nraise RuntimeError('half an edit')\n")
    done = command("day16", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["pieces"]["rmsnorm"] == "reference"
