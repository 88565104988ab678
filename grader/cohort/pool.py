"""Many submissions at a time, each graded by a process of its own that has limits and cannot harm the others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from grader import processes
from grader.cohort.submissions import Submission
from grader.curriculum import REPOSITORY
from grader.verdict import Check, Report, Verdict

POLL_S = 0.02
LEAST_MEMORY = 2 << 30  # for one submission; fewer run at a time where there is less
Result = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How a cohort is graded.

    Attributes:
        jobs: submissions at a time.
        call_limit_s: seconds that one call of a lesson may take.
        total_limit_s: seconds that one grading may take.
        memory_limit: bytes that one lesson may hold.
        sandboxed: in namespaces of their own (see grader/sandbox.py).
        hidden: what no submission may see there.
    """

    device: str
    seed: int
    jobs: int
    sandboxed: bool
    hidden: tuple[Path, ...] = ()
    call_limit_s: float = 20.0
    total_limit_s: float = 300.0
    memory_limit: int = LEAST_MEMORY


@dataclass(frozen=True)
class Task:
    """A submission with its files, to be graded."""

    submission: Submission
    files: dict[str, bytes] = field(repr=False)
    key: str = ""


def memory() -> int:
    """Bytes that all submissions together may hold: four fifths of what the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 4 // 5


def jobs_by_default(device: str) -> int:
    """One for each core, as far as the memory goes; on a GPU one, since they would disturb each other's timing."""
    return 1 if device == "cuda" else max(1, min(len(os.sched_getaffinity(0)), memory() // LEAST_MEMORY))


def memory_for(jobs: int) -> int:
    """Bytes for each of so many submissions at a time."""
    return min(6 << 30, max(LEAST_MEMORY, memory() // jobs))


class _Job:
    """One grading in progress."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self.task, self.settings = task, settings
        self.began = time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="warp60-cohort-"))  # with all that the grading leaves in between
        lesson = self.folder / "lesson"
        lesson.mkdir()
        for name, content in task.files.items():
            (lesson / name).write_bytes(content)
        order = {
            "day": task.submission.day.number, "folder": str(lesson), "device": settings.device, "seed": settings.seed,
            "call_limit_s": settings.call_limit_s, "sandboxed": settings.sandboxed, "parent": os.getpid(),
            "hidden": [str(p) for p in settings.hidden], "memory_limit": settings.memory_limit,
        }  # fmt: skip
        threads = str(max(1, len(os.sched_getaffinity(0)) // settings.jobs))
        environment = {
            "EMULATOR_THREADS": threads, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
            "TMPDIR": str(self.folder),
        }  # fmt: skip
        self.out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the job)
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        with tempfile.TemporaryFile() as orders:
            orders.write(json.dumps(order).encode())
            orders.seek(0)
            with processes.lock:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "grader.cohort.job"], stdin=orders, stdout=self.out, stderr=self.log,
                    cwd=self.folder, env=environment, start_new_session=True,
                )  # fmt: skip
                processes.started(self.process.pid)

    def over(self) -> bool:
        """Whether it has ended, or has to."""
        return self._ended() or time.monotonic() - self.began > self.settings.total_limit_s

    def _ended(self) -> bool:
        """Whether it has ended by itself. It is not reaped yet, so that nobody else can have its number."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> Result:
        """What came of it; nothing of it is left afterwards."""
        by_itself = self._ended()
        processes.end(self.process.pid)
        status = self.process.wait()
        processes.end_orphans()
        shutil.rmtree(self.folder, ignore_errors=True)
        text, said = (_content(file) for file in (self.out, self.log))
        if by_itself and status == 0:
            try:
                found = json.loads(text)
                if isinstance(found, dict) and found["verdict"] in Verdict.__members__:
                    return found
            except (ValueError, KeyError, RecursionError):
                pass
        if not by_itself:
            return self._failed(Verdict.TIMED_OUT, f"no end within {self.settings.total_limit_s:g} s")
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        return self._failed(Verdict.CRASHED, f"the grading {how}" + (f": {last[0]}" if last else ""))

    def _failed(self, verdict: Verdict, detail: str) -> Result:
        return failure(self.task.submission, self.settings, verdict, detail, time.monotonic() - self.began)


def _content(file: IO[bytes]) -> bytes:
    with file:
        file.seek(0)
        return file.read(64 << 20)


def failure(submission: Submission, settings: Settings, verdict: Verdict, detail: str, seconds: float = 0.0) -> Result:
    """The result of a submission that could not be graded as others are."""
    day = submission.day
    report = Report(
        day.number, day.slug, "", settings.device or "cpu", settings.seed, [Check("grading", verdict, detail)]
    )
    report.seconds = seconds
    return report.as_json()


def run(tasks: Sequence[Task], settings: Settings, on_done: Callable[[Task, Result], None]) -> None:
    """Grade all of them.

    What timed out beside others is graded once more by itself: a neighbour that kept the machine busy costs nobody a pass.

    Args:
        on_done: told of each as it ends.
    """
    processes.adopt_orphans()
    again: list[Task] = []

    def done(task: Task, result: Result) -> None:
        if result["verdict"] == Verdict.TIMED_OUT and settings.jobs > 1 and len(tasks) > 1:
            again.append(task)
        else:
            on_done(task, result)

    _run(tasks, settings, done)
    _run(again, replace(settings, jobs=1), on_done)


def _run(tasks: Sequence[Task], settings: Settings, on_done: Callable[[Task, Result], None]) -> None:
    waiting, running = list(reversed(tasks)), list[_Job]()
    try:
        while waiting or running:
            while waiting and len(running) < settings.jobs:
                running.append(_Job(waiting.pop(), settings))
            for job in [j for j in running if j.over()]:
                result = job.end()
                running.remove(job)
                on_done(job.task, result)
            time.sleep(POLL_S)
    finally:
        for job in running:
            job.end()
