"""What a lesson may do to the machine: nothing that outlives it, nothing outside its scratch folder, no endless memory."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

import pytest

from grader import processes
from grader.curriculum import find
from grader.grade import grade
from grader.runner import Worker
from grader.verdict import Verdict

LIMIT_S = 4.0


@pytest.fixture
def answer_of(tmp_path):
    """Runs `lesson(path)` with that body in a worker and returns the answer."""

    def run(body: str, *, limit_s: float = LIMIT_S) -> dict:
        folder = tmp_path / "lesson folder ä"
        folder.mkdir(exist_ok=True)
        source = "def lesson(path):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        (folder / "lesson.py").write_text(source)
        with Worker("cpu", call_limit_s=limit_s) as worker:
            assert worker.load(folder)["outcome"] == "ok"
            out = worker.call("lesson", [str(tmp_path)])
        assert not worker.scratch.exists(), "the scratch folder goes with the worker"
        return out

    return run


def marked(word: str) -> list[int]:
    """Processes whose command line has that word."""
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (
                    word in (entry / "cmdline").read_text()
                    and "Z" not in (entry / "stat").read_text().split(")")[-1][:3]
                ):
                    out.append(int(entry.name))
            except OSError:
                continue
    return out


@pytest.mark.parametrize(
    "body",
    [
        "import subprocess\nsubprocess.Popen(['sleep', '60'])",
        "import os\nos.system('true')",
        "import os\nos.fork()",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})",
        "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()",
        "import os\ntry:\n    os.fork()\nexcept PermissionError:\n    pass\nreturn 1",
    ],
)
def test_starting_a_process_is_refused_and_named(answer_of, body):
    answer = answer_of(body)
    assert answer["outcome"] == "refused", answer
    assert "may not start other processes" in answer["message"]


DAEMON = """
import ctypes, os, time
libc = ctypes.CDLL(None)                       # native code: Python's guards do not see it
if libc.fork() == 0:
    libc.setsid()
    if libc.fork() == 0:
        argv = (ctypes.c_char_p * 4)(b"sleep", b"{seconds}", None)
        libc.execvp(b"sleep", argv)
    os._exit(0)
time.sleep(0.3)
{then}
"""


@pytest.mark.parametrize("then", ["return 1", "os._exit(0)", "time.sleep(60)"])
def test_nothing_outlives_the_worker(answer_of, then):
    seconds = f"61.{os.getpid()}{len(then)}"
    answer_of(DAEMON.format(seconds=seconds, then=then), limit_s=2.0)
    time.sleep(0.1)
    assert marked(seconds) == []


def test_a_process_that_is_left_running_fails_the_lesson(tmp_path):
    day = find("day07")
    daemon = textwrap.indent(DAEMON.format(seconds=f"63.{os.getpid()}", then=""), "    ")
    lesson = (day.solution / "lesson.py").read_text()
    assert "    rows, hidden = x.shape\n" in lesson
    (tmp_path / "lesson.py").write_text(
        lesson.replace("    rows, hidden = x.shape\n", daemon + "    rows, hidden = x.shape\n")
    )
    (tmp_path / "kernel.cu").write_text((day.solution / "kernel.cu").read_text())
    report = grade(day, tmp_path, device="cpu", seed=1)
    assert report.verdict is Verdict.CRASHED
    assert report.checks[-1].name == "processes"
    assert "which were ended with it" in report.checks[-1].detail
    assert marked(f"63.{os.getpid()}") == []


def test_a_fork_bomb_ends_with_its_worker(answer_of):
    body = """
    import ctypes, time
    libc = ctypes.CDLL(None)
    for _ in range(6):
        libc.fork()
    time.sleep(60)
    """
    before = processes.descendants(os.getpid())
    answer = answer_of(body, limit_s=1.5)
    assert answer["outcome"] in ("timed-out", "crashed")
    time.sleep(0.2)
    assert processes.descendants(os.getpid()) <= before


@pytest.mark.parametrize(
    "body",
    [
        "open(path + '/new', 'w')",
        "from pathlib import Path\nPath(path, 'new').write_text('x')",
        "import os\nos.open(path + '/new', os.O_WRONLY | os.O_CREAT)",
        "import os\nos.mkdir(path + '/new')",
        "import os\nos.remove(path + '/precious')",
        "import os, shutil\nshutil.rmtree(path)",
        "import os\nopen('mine', 'w').close()\nos.rename('mine', path + '/new')",
        "import os\nopen('mine', 'w').close()\nos.symlink('mine', path + '/new')",
        "import os\nos.truncate(path + '/precious', 0)",
        "import os\nos.chmod(path + '/precious', 0)",
        "import numpy as np\nnp.save(path + '/new.npy', np.zeros(3))",
        "try:\n    open(path + '/new', 'w')\nexcept PermissionError:\n    return 1",
    ],
)
def test_writing_outside_is_refused_and_named(answer_of, tmp_path, body):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    answer = answer_of(body)
    assert answer["outcome"] == "refused", answer
    assert "outside its scratch folder" in answer["message"]
    assert precious.read_text() == "kept"
    assert precious.stat().st_mode & 0o600
    assert not list(tmp_path.glob("new*"))


def test_its_scratch_folder_is_its_own(answer_of):
    body = """
    import os, tempfile
    with open("here", "w") as out:
        out.write("x")
    with tempfile.NamedTemporaryFile() as out:
        out.write(b"x")
    os.remove("here")
    return os.listdir(".") != []
    """
    assert answer_of(body)["outcome"] == "ok"


def test_memory_is_limited(answer_of, monkeypatch):
    from grader import sandbox

    monkeypatch.setattr(sandbox, "memory_limit", lambda: 600 << 20)
    body = """
    kept = []
    while True:
        kept.append(bytearray(20 << 20))
    """
    answer = answer_of(body, limit_s=30)
    assert answer["outcome"] == "crashed"
    assert "0.6 GiB of memory" in answer["message"]


def test_memory_of_its_children_counts(answer_of, monkeypatch):
    from grader import sandbox

    monkeypatch.setattr(sandbox, "memory_limit", lambda: 600 << 20)
    body = """
    import ctypes, time
    ctypes.CDLL(None).fork()
    mine = b"x" * (400 << 20)          # each of the two less than the limit
    time.sleep(20)
    """
    answer = answer_of(body, limit_s=15)
    assert "of memory" in answer["message"]


def test_sleeping_for_ever_is_ended(answer_of):
    began = time.monotonic()
    answer = answer_of("import time\ntime.sleep(10**6)", limit_s=1.0)
    assert answer["outcome"] == "timed-out"
    assert time.monotonic() - began < 10


def test_half_a_message_does_not_hang_the_grader(answer_of):
    body = """
    import os, struct, time
    for fd in range(3, 40):
        try:
            os.write(fd, struct.pack("<QQ", 1000, 1 << 31) + b"{")
        except OSError:
            pass
    time.sleep(60)
    """
    began = time.monotonic()
    assert answer_of(body, limit_s=1.5)["outcome"] in ("crashed", "timed-out")
    assert time.monotonic() - began < 15


def test_a_flood_of_words_is_cut(tmp_path):
    (tmp_path / "lesson.py").write_text(
        "def lesson():\n    for _ in range(200_000):\n        print('x' * 100)\n    return 1\n"
    )
    with Worker("cpu", call_limit_s=20) as worker:
        assert worker.load(tmp_path)["outcome"] == "ok"
        assert worker.call("lesson", [])["result"] == 1
        said = worker.printed()
    assert said.startswith("xxx")
    assert said.endswith("20,200,000 bytes in all")
    assert len(said) < 2100


def test_unsendable_results_are_named(answer_of):
    assert answer_of("return object()") == {"outcome": "wrong-type", "type": "object", "expected": "numpy"}
