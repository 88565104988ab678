"""What machines read: JUnit, `all`, JSON of several days; and YAML whose mistakes are named by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from grader import doctor, everything, junit, located, mutants
from grader.curriculum import REPOSITORY, find
from grader.verdict import Check, Report, Verdict


def a_report(*verdicts: Verdict) -> Report:
    report = Report(7, "rmsnorm", "somewhere", "cpu", 5)
    report.checks = [
        Check(f"check {i}", v, "why \x00 & <not>", (("label", "text\x1b[0m"),)) for i, v in enumerate(verdicts)
    ]
    return report


def test_junit_keeps_the_three_verdicts_apart():
    text = junit.document([a_report(Verdict.PASSED, Verdict.WRONG, Verdict.NOT_RUN, Verdict.UNSAFE)])
    suite = ElementTree.fromstring(text).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    assert [[child.tag for child in case] for case in suite.iter("testcase")] == [
        [],
        ["failure"],
        ["skipped"],
        ["failure"],
    ]
    failure = next(suite.iter("failure"))
    assert failure.get("message") == "WRONG: why \ufffd & <not>"


def test_junit_file_of_a_command(clone, command):
    done = command("day07", "--solution", "--junit", "out.xml", "--seed", "3")
    assert done.returncode == 0, done.stderr
    suite = ElementTree.parse(clone / "out.xml").getroot()[0]
    assert suite.get("name") == "day07_rmsnorm"
    assert int(suite.get("tests", "0")) > 10
    done = command("day07", "--junit", "nowhere/out.xml")
    assert done.returncode == 2
    assert "nowhere/out.xml" in done.stderr


def test_all_holds_each_to_what_it_should_come_to(command):
    done = command("all", "--days", "7", "--solutions", "--stubs", "--json", "--seed", "2")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["as_expected"] is True
    assert [(g["kind"], g["verdict"]) for g in answer["gradings"]] == [("solution", "PASSED"), ("stub", "NOT_SOLVED")]
    done = command("all", "--days", "7")
    assert done.returncode == 1
    assert "0 of 1 passed" in done.stdout
    assert command("all", "--days", "60").returncode == 2


def test_a_mutant_that_passes_or_is_not_named_is_a_problem():
    day = find("day07")
    mutant = mutants.mutants(day)[0]
    work = everything.Work(day, "mutant", mutant)
    assert "expected WRONG" in "".join(everything._problems(work, a_report(Verdict.PASSED)))
    assert "the diagnosis is missing" in "".join(everything._problems(work, a_report(Verdict.WRONG)))


def test_several_days_in_one_object(command):
    done = command("6-7", "--solution", "--json", "--seed", "8")
    assert done.returncode == 0, done.stderr
    assert [(one["day"], one["seed"], one["verdict"]) for one in json.loads(done.stdout)["days"]] == [
        (6, 8, "PASSED"),
        (7, 8, "PASSED"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", r"x\.yaml:\d: not YAML"),
        ("a: 1\na: 2\n", r"x\.yaml:2: key 'a' stands here a second time"),
        ("\ta: 1\n", r"x\.yaml:1: not YAML"),
        ("a: &x 1\nb: *y\n", r"x\.yaml:2: not YAML"),
    ],
)
def test_broken_yaml_names_its_line(tmp_path, text, words):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(located.LocatedError, match=words):
        located.load(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: boundary", "kind: boundry", r"mutants\.yaml:\d+: missing-tail: kind is 'boundry'"),
        ("  verdict: WRONG", "  verdict: WORNG", r"mutants\.yaml:\d+: missing-tail: verdict is 'WORNG'"),
        ("  hint: 1", "  hint: 9", r"missing-tail: hint is 9"),
        ("  hint: 1", "  hunt: 1", r"unknown key 'hunt'"),
        ("  hint: 1", "  hint: one", r"'hint' is 'one': expected int"),
        ("  diagnosis:", "  # diagnosis:", r"key 'diagnosis' is missing"),
    ],
)
def test_broken_mutants_name_line_and_key(clone, monkeypatch, old, new, words):
    path = clone / "solutions" / "day07_rmsnorm" / "mutants.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    monkeypatch.setattr("grader.curriculum.REPOSITORY", clone)
    with pytest.raises(mutants.MutantError, match=words):
        mutants.mutants(find("day07"))


def test_doctor_finds_this_machine_ready(command):
    done = command("doctor", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert answer["ready"] is True
    assert {"python", "compiler", "emulator", "gpu", "model"} <= {f["name"] for f in answer["findings"]}


def test_doctor_without_a_compiler_says_how_to_get_one(command, tmp_path):
    done = command("doctor", env={"EMULATOR_CXX": str(tmp_path / "no-such-compiler")})
    assert done.returncode == 1
    assert "not ready: compiler" in done.stdout
    assert "g++" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_doctor_survives_a_part_that_breaks(monkeypatch):
    def broken(_name):
        raise RuntimeError("of a kind that nobody foresaw")
        yield

    monkeypatch.setattr(doctor, "PARTS", [("thing", broken)])
    findings = doctor.examine()
    assert not doctor.ready(findings)
    assert "nobody foresaw" in findings[0].detail


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("warp60 day07", "day07_rmsnorm"),
        ("warp60 wat", "watch"),
        ("warp60 hint day07", "day07_rmsnorm"),
        ("warp60 day99", ""),
    ],
)
def test_completion_knows_commands_and_days(line, expected):
    program = "import sys; sys.argv = ['warp60']; from grader.__main__ import main; main()"
    environment = {
        **os.environ, "_WARP60_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout.split() == expected.split()
