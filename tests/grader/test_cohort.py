"""A cohort of the worst: each submission gets its own result, and none reaches another, the gradebook or the solutions."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from grader import processes, sandbox, stubs
from grader.cohort import gradebook, pool, submissions
from grader.cohort.grading import Progress, grade_cohort
from grader.cohort.state import NAME, State
from grader.cohort.submissions import CohortError, Unusable
from grader.commands.cohort import cohort as command
from grader.curriculum import REPOSITORY, days, find
from grader.verdict import Verdict

DAY = find("day07")
SOLVED = {name: stubs.unmarked((DAY.solution / name).read_text()) for name in DAY.files}
STUB = stubs.stub_files(DAY)
MARK = f"64.{os.getpid()}"  # seconds of a sleep: nobody else sleeps for so long
needs_sandbox = pytest.mark.skipif(not sandbox.available(), reason="NOT RUN: no bwrap here that may make namespaces")

NATIVE = """
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)   # native code: Python's guards do not see it
"""
NOSY = (
    NATIVE
    + """
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
buffer = ctypes.create_string_buffer(64)
def readable(path):
    fd = libc.open(path.encode(), 0)
    return fd >= 0 and libc.read(fd, buffer, 64) > 0
def writable(path):
    fd = libc.open(path.encode(), os.O_WRONLY | os.O_CREAT, 0o600)
    return fd >= 0 and libc.write(fd, b"mine", 4) == 4
print("read", [p for p in READ if readable(p)])
print("written", [p for p in WRITE if writable(p)])
unmounted = [p for p in COVERS if libc.umount2(p.encode(), 2) == 0]
new = libc.unshare(CLONE_NEWUSER | CLONE_NEWNS)
unmounted += [p for p in COVERS if libc.umount2(p.encode(), 2) == 0]
print("unmounted", unmounted, [p for p in READ if readable(p)])
address = (2).to_bytes(2, "little") + PORT.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
print("connected", libc.connect(libc.socket(2, 1, 0), address, 16) == 0)
print("processes", len([p for p in os.listdir("/proc") if p.isdigit()]))
print("secret", "WARP60_TEST_TOKEN" in os.environ or "A_TOKEN" in os.environ)
block, filled = b"x" * (1 << 20), 0
fd = libc.open(b"big", os.O_WRONLY | os.O_CREAT, 0o600)
while filled < 2000 and libc.write(fd, block, len(block)) == len(block):
    filled += 1
print("filled", filled < 2000)
"""
)
DAEMON = (
    NATIVE
    + f"""
if libc.fork() == 0:
    libc.setsid()
    if libc.fork() == 0:
        argv = (ctypes.c_char_p * 3)(b"sleep", b"{MARK}", None)
        libc.execvp(b"sleep", argv)
    os._exit(0)
time.sleep(0.2)
"""
)
PATRICIDE = NATIVE + "libc.kill(os.getppid(), 9)\nlibc.kill(1, 9)\nlibc.kill(-1, 9)\n"
BOMB = NATIVE + "while True:\n    libc.fork()\n"
HOG = "kept = []\nwhile True:\n    kept.append(bytearray(b'x') * (32 << 20))\n"
FORGER = """
import os
for fd in range(3, 64):
    try:
        os.write(fd, (100_000).to_bytes(8, "little") + bytes(8) + b"[" * 100_000)
    except OSError:
        pass
"""
EVIL = "=cmd|' /C calc'!A0 <img src=x onerror=alert(1)>"


def put(folder: Path, lesson: str = STUB["lesson.py"], kernel: str = STUB["kernel.cu"]) -> Path:
    folder.mkdir(parents=True)
    (folder / "lesson.py").write_text(lesson)
    (folder / "kernel.cu").write_text(kernel)
    return folder


def alive(word: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word in (entry / "cmdline").read_text():
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The class, its folder graded once."""
    if not sandbox.available():
        pytest.skip("NOT RUN: no bwrap here that may make namespaces")
    base = tmp_path_factory.mktemp("x")
    root, name = base / "Klasse 10b, später", DAY.folder_name
    put(root / "Ännä Müller" / name, **{"lesson": SOLVED["lesson.py"], "kernel": SOLVED["kernel.cu"]})
    (base / "outside.py").write_text("x = 1\n")
    listening = socket.create_server(("127.0.0.1", 0))
    engine_files = [(DAY.solution / n).resolve() for n in DAY.files]
    read = [
        *map(str, engine_files), *(str(DAY.solution / n) for n in ("lesson.py", "kernel.cu", "mutants.yaml", "README.md")),
        str(REPOSITORY / "grader" / "oracles.py"), str(REPOSITORY / "grader" / "checks" / "day07.py"),
        str(REPOSITORY / ".git" / "HEAD"), str(REPOSITORY / "days" / name / "lesson.py"), str(base / "outside.py"),
        str(root / "Ännä Müller" / name / "lesson.py"), str(root / "gradebook.csv"), str(root / NAME),
        *(str(REPOSITORY / "grader" / f"{n}.py") for n in ("budget", "compare", "mutants")),
    ]  # fmt: skip
    write = [
        str(root / "Ännä Müller" / name / "lesson.py"), str(root / "gradebook.csv"), str(root / "new"),
        str(REPOSITORY / "grader" / "worker.py"), str(REPOSITORY / "engine" / "new.py"), str(base / "outside.py"),
    ]  # fmt: skip
    covers = ["/tmp", "/run", str(Path.home()), str(REPOSITORY), str(REPOSITORY / "kernels" / "rmsnorm.cu"), str(root)]
    head = f"READ, WRITE, COVERS = {read!r}, {write!r}, {covers!r}\nPORT = {listening.getsockname()[1]}\n"
    evil = STUB["lesson.py"].replace(
        "raise NotImplementedError", f"raise RuntimeError({EVIL!r})\n    raise NotImplementedError"
    )
    put(root / EVIL.replace("/", "∕") / name, evil)
    for student, code in {
        "nosy": head + NOSY, "daemon": DAEMON, "patricide": PATRICIDE, "bomb": BOMB, "hog": HOG, "forger": FORGER,
        "garbage": "\0\1\2 garbage",
    }.items():  # fmt: skip
        put(root / student / name, f"{STUB['lesson.py']}\n{code}")
    put(root / "in days" / "days" / name)
    put(root / "directly")
    (put(root / "no kernel" / name) / "kernel.cu").unlink()
    for student, make in {
        "folder for a file": lambda p: p.mkdir(),
        "pipe": os.mkfifo,
        "link out": lambda p: p.symlink_to(base / "outside.py"),
        "dangling": lambda p: p.symlink_to("nowhere.py"),
        "huge": lambda p: p.write_bytes(b"#" * (submissions.MOST_BYTES + 1)),
    }.items():
        place = put(root / student / name) / "lesson.py"
        place.unlink()
        make(place)
    (root / "copycat").mkdir()
    (root / "copycat" / name).symlink_to(root / "Ännä Müller" / name)
    (root / "also a copycat").symlink_to(root / "Ännä Müller")
    (root / "absent").mkdir()
    (root / "notes.txt").write_text("not a student")
    os.environ["A_TOKEN"] = "secret"
    try:
        with listening:
            book = grade_cohort(root, root, wanted=[DAY], jobs=2, seed=5, device="cpu", memory_limit=500 << 20)
    finally:
        del os.environ["A_TOKEN"]
    gradebook.write(book, root)
    return root, book


def result(cohort, student):
    return cohort[1].result(student, DAY)


def failure_of(cohort, student):
    return gradebook.why(result(cohort, student))


# ---- nobody harms anybody ----------------------------------------------------------------------------------------------


def test_the_honest_one_passes_among_them(cohort):
    assert result(cohort, "Ännä Müller")["verdict"] == "PASSED"
    assert (cohort[0] / "Ännä Müller" / DAY.folder_name / "lesson.py").read_text() == SOLVED["lesson.py"]
    assert cohort[1].settings.sandboxed


@pytest.mark.parametrize(
    "line",
    ["read []", "written []", "unmounted [] []", "connected False", "processes 2", "secret False", "filled True"],
)
def test_native_code_reaches_nothing(cohort, line):
    said = result(cohort, "nosy")["printed"].splitlines()
    assert line in said
    assert not (cohort[0] / "new").exists()
    assert not (REPOSITORY / "engine" / "new.py").exists()
    assert b"mine" not in (REPOSITORY / "grader" / "worker.py").read_bytes()[:4]
    assert (cohort[0].parent / "outside.py").read_text() == "x = 1\n"


def test_a_daemon_does_not_outlive_its_grading(cohort):
    assert result(cohort, "daemon")["verdict"] == "NOT_SOLVED"
    assert alive(MARK) == []


@pytest.mark.parametrize(
    ("student", "verdict", "words"),
    [
        ("patricide", "NOT_SOLVED", "day 7:"),
        ("bomb", "CRASHED", "more than"),  # so many processes, or so much memory
        ("hog", "CRASHED", "GiB of memory"),
        ("forger", "CRASHED", ""),
        ("garbage", "CRASHED", "null bytes"),
        ("in days", "NOT_SOLVED", "day 7:"),
        ("directly", "NOT_SOLVED", "day 7:"),
        ("no kernel", "CRASHED", "kernel.cu: no such file"),
        ("folder for a file", "CRASHED", "is a folder: expected a file"),
        ("pipe", "CRASHED", "is a pipe or a device: expected a file"),
        ("link out", "CRASHED", "a link that leads out of the submission"),
        ("dangling", "CRASHED", "no such file"),
        ("huge", "CRASHED", "expected at most 1,048,576"),
        ("copycat", "CRASHED", "a link that leads out of the submission"),
        ("also a copycat", "CRASHED", "the student's folder is a link"),
    ],
)
def test_each_gets_a_result_of_its_own(cohort, student, verdict, words):
    assert result(cohort, student)["verdict"] == verdict
    assert words in failure_of(cohort, student)


def test_nothing_is_left_behind(cohort):
    assert result(cohort, "absent") is None
    assert {p.name for p in cohort[0].iterdir() if p.is_file()} == {gradebook.CSV, gradebook.HTML, NAME, "notes.txt"}
    assert not set(alive("grader.worker")) & set(map(str, processes.descendants(os.getpid())))
    assert not [p for p in Path(os.environ.get("TMPDIR", "/tmp")).glob("warp60-cohort-*") if p.stat().st_mtime > START]


START = time.time()

# ---- the gradebook -----------------------------------------------------------------------------------------------------


def test_csv(cohort):
    text = (cohort[0] / gradebook.CSV).read_bytes()
    assert text.startswith(b"\xef\xbb\xbf"), "a spreadsheet needs it"
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    by_name = {r["student"]: r for r in rows}
    assert len(rows) == len(cohort[1].found.students)
    honest = by_name["Ännä Müller"]
    assert (honest["passed"], honest["day07"], honest["seed"], honest["device"]) == ("1", "PASSED", "5", "cpu")
    assert by_name["absent"]["day07"] == "not handed in"
    assert not [cell for r in rows for cell in r.values() if cell.startswith(("=", "+", "-", "@"))]
    assert [r["student"] for r in rows].index("Ännä Müller") < [r["student"] for r in rows].index("bomb")


def test_html(cohort):
    text = (cohort[0] / gradebook.HTML).read_text()
    assert '<html lang="en">' in text
    assert "Ännä Müller" in text
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "seed <code>5</code>" in text
    assert "is a pipe or a device: expected a file" in text
    assert sandbox.CONTAINED[1:] in text.replace("&#39;", "'")


def test_names_and_texts_are_cleaned():
    assert submissions.shown("a\x1b[2Jb\nc\udcffd\u202e") == "a�[2Jb�c�d�"
    assert len(gradebook.words("x" * 10_000)) == gradebook.MOST_TEXT


# ---- again -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """Two students whose lessons are stubs: graded quickly."""
    root = tmp_path / "class"
    for name in ("ann", "bob"):
        put(root / name / DAY.folder_name)
    return root


def grade_again(root, **options):
    graded = []
    book = grade_cohort(
        root, root, device="cpu", jobs=2, progress=Progress(done=lambda s, _: graded.append(s.student)), **options
    )  # fmt: skip
    return book, sorted(graded)


def test_only_what_changed_is_graded_again(small):
    book, graded = grade_again(small)
    assert graded == ["ann", "bob"]
    with (small / NAME).open("a") as state:
        state.write('{"key": "half a line')
    again, graded = grade_again(small)
    assert graded == []
    assert again.settings.seed == book.settings.seed
    assert again.results == book.results
    (small / "bob" / DAY.folder_name / "lesson.py").write_text("def rmsnorm(x, weight, eps):\n    1 / 0\n")
    book, graded = grade_again(small)
    assert graded == ["bob"]
    assert book.result("bob", DAY)["verdict"] == "CRASHED"
    book, graded = grade_again(small, seed=again.settings.seed + 1)
    assert graded == ["ann", "bob"]
    assert {r["seed"] for r in book.results.values()} == {again.settings.seed + 1}


def test_interrupted_it_goes_on(small):
    slow = STUB["lesson.py"] + "\nimport time\ntime.sleep(60)\n"
    put(small / "zoe" / DAY.folder_name, slow)
    code = textwrap.dedent("""
        import typer
        from grader.commands.cohort import cohort
        from engine import terminal
        app = typer.Typer()
        app.command()(cohort)
        terminal.run(app, "cohort")
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(small), "--jobs", "2", "--seed", "3"], cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "WARP60_DEVICE": "cpu"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = []
        while sum("NOT SOLVED" in line for line in lines) < 2:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "2 of 3 were graded; the same command goes on" in error
    assert "Traceback" not in error
    time.sleep(0.1)
    assert not set(alive("grader.cohort.job")) & set(map(str, processes.descendants(os.getpid())))
    (small / "zoe" / DAY.folder_name / "lesson.py").write_text(STUB["lesson.py"])
    book, graded = grade_again(small)
    assert graded == ["zoe"]
    assert book.settings.seed == 3


@pytest.mark.gpu
def test_on_a_gpu_one_at_a_time_with_its_speed(tmp_path):
    root = tmp_path / "class"
    put(root / "ann" / DAY.folder_name, **{"lesson": SOLVED["lesson.py"], "kernel": SOLVED["kernel.cu"]})
    book = grade_cohort(root, root, device="cuda", seed=1)
    assert (book.settings.device, book.settings.jobs) == ("cuda", 1)
    found = book.result("ann", DAY)
    assert found["verdict"] == "PASSED", found
    speed = next(c for c in found["checks"] if c["name"] == "speed")
    assert speed["verdict"] == "PASSED"
    assert speed["figures"]["mine"]["median_s"] > 0


def test_two_at_the_same_place_do_not_mix(small):
    with State(small), pytest.raises(CohortError, match="another cohort is writing here"):
        grade_again(small)


def test_what_timed_out_among_others_is_graded_once_more_alone(monkeypatch, tmp_path):
    rounds = []
    tasks = [pool.Task(submissions.Submission(n, DAY, tmp_path, tmp_path), {}) for n in ("a", "b", "c")]

    def fake(tasks, settings, on_done):
        rounds.append(([t.submission.student for t in tasks], settings.jobs))
        for task in tasks:
            timed_out = task.submission.student == "b" and settings.jobs > 1
            on_done(task, {"verdict": Verdict.TIMED_OUT if timed_out else Verdict.PASSED})

    monkeypatch.setattr(pool, "_run", fake)
    got = {}
    pool.run(tasks, pool.Settings("cpu", 1, 3, False), lambda t, r: got.__setitem__(t.submission.student, r["verdict"]))
    assert rounds == [(["a", "b", "c"], 3), (["b"], 1)]
    assert set(got.values()) == {Verdict.PASSED}
    assert got.keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("where", "limits", "words"),
    [
        ("in the function", {"call_limit_s": 1.0}, "no answer within 1 s"),
        ("at its import", {"total_limit_s": 1.5}, "no end within 1.5 s"),
    ],
)
def test_a_grading_without_end_is_ended(tmp_path, where, limits, words):
    endless = "while True: pass\n"
    lesson = {
        "in the function": STUB["lesson.py"].replace(
            "raise NotImplementedError", f"{endless}    raise NotImplementedError"
        ),
        "at its import": STUB["lesson.py"] + endless,
    }[where]
    slow = put(tmp_path / "x" / DAY.folder_name, lesson)
    task = pool.Task(
        submissions.Submission("x", DAY, slow, tmp_path / "x"), {n: (slow / n).read_bytes() for n in DAY.files}
    )
    got = []
    began = time.monotonic()
    pool.run([task], pool.Settings("cpu", 1, 1, sandbox.available(), **limits), lambda _, r: got.append(r))
    assert time.monotonic() - began < 25
    assert got[0]["verdict"] == "TIMED_OUT"
    assert got[0]["checks"][-1]["detail"] == words


# ---- the command -------------------------------------------------------------------------------------------------------


def run(*arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"WARP60_DEVICE": "cpu"})


def test_json(small):
    done = run(small, "--json", "--seed", "9", "--days", "7", "--out", small.parent / "results")
    assert done.exit_code == 0, done.output
    book = json.loads(done.stdout)
    assert (book["seed"], book["device"], book["days"]) == (9, "cpu", ["day07"])
    assert [s["student"] for s in book["students"]] == ["ann", "bob"]
    assert {s["results"]["day07"]["verdict"] for s in book["students"]} == {"NOT_SOLVED"}
    assert not list(small.glob("gradebook*"))
    assert (small.parent / "results" / gradebook.HTML).is_file()


def test_without_bwrap_it_says_so(small, monkeypatch):
    monkeypatch.setattr(sandbox, "available", lambda: False)
    done = run(small)
    assert done.exit_code == 0, done.output
    assert f"WARNING: {sandbox.NOT_CONTAINED}" in done.stderr
    assert sandbox.NOT_CONTAINED[1:] in (small / gradebook.HTML).read_text().replace("&#39;", "'")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "No such file or directory"),
        ([""], "no folders in it"),
        (["people"], "which day are the files of? Say --days"),
        (["people", "--days", "99"], "there is no day '99'"),
        *(
            (["people", "--days", day.name], "is not written yet")
            for day in days()
            if day.number == 60 and not day.written
        ),
        (["people", "--device", "tpu"], "expected cuda or cpu"),
    ],
)
def test_wrong_usage_is_one_clear_line(tmp_path, arguments, words):
    put(tmp_path / "people" / "ann")
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / (arguments[0] or "empty"), *arguments[1:])
    assert done.exit_code == 2
    assert words in done.output
    assert "Traceback" not in done.output


def test_links_within_a_submission_are_fine(tmp_path):
    place = put(tmp_path / "ann" / DAY.folder_name)
    (place / "lesson.py").rename(place / "real.py")
    (place / "lesson.py").symlink_to("real.py")
    (place / "big.py").write_bytes(b"#" * (submissions.MOST_BYTES + 1))
    (found,) = submissions.find(tmp_path).submissions
    assert submissions.take(found).keys() == {"lesson.py", "kernel.cu", "real.py"}
    (place / "lesson.py").unlink()
    with pytest.raises(Unusable, match="no such file"):
        submissions.take(found)
