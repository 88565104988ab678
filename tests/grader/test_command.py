"""The command line as a learner meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from engine import terminal
from grader import processes, progress, stubs
from grader.curriculum import CURRICULUM, REPOSITORY, CurriculumError, days, find


def run(*arguments, env=None, **options):
    environment = {**os.environ, "WARP60_DEVICE": "cpu", **(env or {})}
    return subprocess.run(
        [sys.executable, "-m", "grader", *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=120,
        check=False,
        **options,
    )


def test_json_is_one_object_with_the_agreed_keys():
    done = run("day07", "--solution", "--json", "--seed", "11")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["day", "slug", "source", "device", "seed", "verdict", "checks", "seconds"]
    assert (report["day"], report["slug"], report["seed"], report["verdict"]) == (7, "rmsnorm", 11, "PASSED")
    assert report["device"] == "cpu (emulated CUDA)"
    for check in report["checks"]:
        assert {"name", "verdict", "detail", "figures"} <= set(check)


@pytest.mark.parametrize("name", ["7", "07", "day7", "day07", "day07_rmsnorm", "rmsnorm"])
def test_names_of_a_day(name):
    assert find(name).number == 7


def test_unsolved_says_what_to_do_next():
    done = run("day07")
    assert done.returncode == 3
    assert "NOT SOLVED" in done.stdout
    assert "days/day07_rmsnorm/README.md" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["day07_rmsnrm"], "did you mean day07_rmsnorm?"),
        (["99"], "there is no day '99'"),
        (["day60"], "not written yet"),
        (["day07", "--device", "tpu"], "expected cuda or cpu"),
        (["day07", "--from", "/nowhere"], "no such file"),
        (["day07", "--mutant", "nobody"], "it has missing-tail"),
        (["day07", "--solution", "--from", "."], "exclude each other"),
        (["day07", "--seed", "-4"], "--seed"),
        (["day07", "--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_status_2(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_failure_is_status_1_and_can_be_repeated():
    done = run("day07", "--mutant", "block-mean", "--seed", "4")
    assert done.returncode == 1
    assert "python -m grader day07 --mutant block-mean --seed 4" in done.stdout


@pytest.mark.parametrize("columns", ["60", "80", "160"])
def test_fits_the_terminal_and_needs_no_colour(columns):
    done = run("day07", "--mutant", "missing-tail", "--seed", "1", env={"COLUMNS": columns, "NO_COLOR": "1"})
    assert "\x1b" not in done.stdout
    shown = [line for line in done.stdout.splitlines() if "again with the same numbers" not in line]
    assert max(map(len, shown)) <= int(columns)


def test_cuda_without_a_gpu_is_said_plainly():
    from engine import device

    if device.why_no_cuda() is None:
        pytest.skip("NOT RUN: there is a GPU here")
    done = run("day07", "--solution", "--device", "cuda")
    assert done.returncode == 1
    assert "cannot be used" in " ".join(done.stdout.split())


def test_map_lists_sixty_days_quickly():
    started = time.monotonic()
    done = run()
    seconds = time.monotonic() - started
    assert done.returncode == 0
    assert all(day.slug in done.stdout for day in days())
    assert seconds < 10


def test_hint():
    done = run("hint", "day07", "2")
    assert done.returncode == 0
    assert "Hint 2" in done.stdout
    assert run("hint", "day07", "9").returncode == 2


def test_interrupt_ends_quietly():
    command = [sys.executable, "-m", "grader", "day07", "--solution"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not processes.descendants(process.pid) and time.monotonic() < deadline:  # until it grades
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert error == "interrupted\n"


def test_interrupt_while_the_commands_are_imported(capsys):
    def load():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        terminal.start(load, "grader")
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_progress_is_kept_and_goes_stale(tmp_path, monkeypatch):
    day = find("day07")
    monkeypatch.setenv("WARP60_PROGRESS", str(tmp_path / "sub" / "progress.json"))
    assert progress.read() == {}
    progress.record(day, day.lesson, "cpu (emulated CUDA)", 5)
    passed = progress.read()["day07"]
    assert (passed.device, passed.seed) == ("cpu", 5)
    assert not progress.is_stale(day, passed)
    progress.record(day, day.solution, "NVIDIA H200", 6)
    assert progress.read()["day07"].device == "gpu"
    assert progress.is_stale(day, progress.read()["day07"])


def test_broken_progress_is_left_alone(tmp_path):
    file = tmp_path / "progress.json"
    file.write_text("{broken")
    done = run(env={"WARP60_PROGRESS": str(file)})
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert file.read_text() == "{broken"


def test_curriculum_is_the_sixty_days():
    assert [d.number for d in days()] == list(range(1, 61))
    assert len({d.slug for d in days()}) == 60
    assert all(need < d.number for d in days() for need in d.needs)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("slug: rmsnorm", "slig: rmsnorm", "unknown key 'slig'"),
        ("day: 9,", "day: nine,", "'day' is 'nine': expected int"),
        ("{day: 3,", "{day: 4,", "expected day 3 here"),
        ("parts:", "parts: [", "curriculum.yaml"),
    ],
)
def test_a_broken_curriculum_names_entry_and_key(tmp_path, monkeypatch, old, new, words):
    from grader import curriculum

    broken = tmp_path / "curriculum.yaml"
    broken.write_text(CURRICULUM.read_text().replace(old, new, 1))
    monkeypatch.setattr(curriculum, "CURRICULUM", broken)
    with pytest.raises(CurriculumError, match=words.replace("[", r"\[")):
        curriculum.days.__wrapped__()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# solve: begin\n# solve: begin\n", "a second"),
        ("# solve: end\n", "without a `solve: begin`"),
        ("x = 1\n# solve: begin\n", "without an end"),
        ("# stub: pass\n", "without a `solve: begin`"),
    ],
)
def test_unpaired_markers_name_their_line(text, words):
    with pytest.raises(stubs.StubError, match=words):
        stubs.stub_of(text, "lesson.py")


def test_stub_keeps_indentation():
    solution = "def f():\n    # solve: begin\n    # stub: raise NotImplementedError\n    return 1\n    # solve: end\n"
    assert stubs.stub_of(solution, "lesson.py") == "def f():\n    raise NotImplementedError\n"
