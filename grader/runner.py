"""Workers from the grader's side: started, limited, killed as a group. Nothing that a lesson does reaches further."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grader import channel
from grader.curriculum import REPOSITORY

CALL_LIMIT_S = 20.0
START_LIMIT_S = 180.0  # of a cold start: the first kernel on a machine compiles the runtime too
MEMORY_LIMIT = 6 << 30
PRINTED_SHOWN = 2000


class Worker:
    """One process that runs one lesson.

    Args:
        device: `cuda`, `cpu`, or "" for the best that answers.
        check: run kernels under the emulator's checker.
        costs: let the checker count what accesses cost.
        outputs: see `emulator.Checks`.
        schedules, seed: of the checker.
    """

    def __init__(
        self,
        device: str,
        *,
        check: bool = False,
        costs: bool = False,
        outputs: Sequence[str] = (),
        schedules: int = 4,
        seed: int = 0,
        call_limit_s: float = CALL_LIMIT_S,
    ) -> None:
        self.call_limit_s = call_limit_s
        self.memory_exceeded = False
        self.device_name, self.device_label = device or "cpu", device or "cpu"  # known once it has loaded a lesson
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
        requests_out, self._requests = os.pipe()
        self._answers, answers_in = os.pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
            "PYTHONDONTWRITEBYTECODE": "1",
            "EMULATOR_TIME_LIMIT": str(max(1.0, call_limit_s / 2)),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "grader.worker", str(requests_out), str(answers_in)],
            pass_fds=(requests_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
        )
        os.close(requests_out)
        os.close(answers_in)
        self._started = False
        self._start = {
            "do": "start", "device": device, "check": check, "costs": costs, "outputs": list(outputs),
            "schedules": schedules, "seed": seed,
        }  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, folder: Path, protected: Sequence[Path] = ()) -> dict[str, Any]:
        """Import the lesson in that folder; the answer's `outcome` is ok, or what went wrong.

        Args:
            folder: with lesson.py and the other files of the day.
            protected: files that it may not open.
        """
        if not self._started:
            self._started = True
            answer = self._ask(self._start, (), START_LIMIT_S)
            if answer["outcome"] != "ok":
                return answer
            self.device_name, self.device_label = str(answer["name"]), str(answer["device"])
        names = [str(path) for path in protected]
        return self._ask({"do": "load", "folder": str(folder.resolve()), "protected": names}, (), START_LIMIT_S)

    def call(self, function: str, args: Sequence[Any]) -> dict[str, Any]:
        """Call the lesson's function on copies; with outcome ok, `result` is the array that came back."""
        described, blobs = channel.encode(args)
        return self._ask({"do": "call", "function": function, "args": described}, blobs, self.call_limit_s)

    def measure(self, function: str, args: Sequence[Any]) -> dict[str, Any]:
        """Time the function on the GPU."""
        described, blobs = channel.encode(args)
        return self._ask({"do": "measure", "function": function, "args": described}, blobs, self.call_limit_s * 3)

    def _ask(self, header: dict[str, Any], blobs: Sequence[bytes], limit_s: float) -> dict[str, Any]:
        try:
            channel.send(self._requests, header, blobs)
            if not self._wait(limit_s):
                self.close()
                if self.memory_exceeded:
                    return {"outcome": "crashed", "message": f"it took more than {MEMORY_LIMIT >> 30} GiB of memory"}
                return {"outcome": "timed-out", "message": f"no answer within {limit_s:g} s"}
            answer, body = channel.receive(self._answers)
            if answer.get("outcome") == "ok" and "result" in answer:
                answer["result"] = channel.decode(answer["result"], body)[0]
        except (channel.ChannelClosed, KeyError, TypeError, ValueError):
            return {"outcome": "crashed", "message": self._how_it_ended()}
        return answer

    def _wait(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._answers], [], [], min(left, 0.1))[0]:
                return True
            if self._resident_bytes() > MEMORY_LIMIT:
                self.memory_exceeded = True
                return False
        return False

    def _resident_bytes(self) -> int:
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _how_it_ended(self) -> str:
        try:
            status = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the worker's answer could not be understood"
        if status < 0:
            return f"the process was killed by {signal.Signals(-status).name}"
        last = self.printed().strip().splitlines()[-1:] or ["without a word (os._exit?)"]
        return f"the process ended with status {status} in the middle of a call: {last[0]}"

    def printed(self) -> str:
        """What the lesson wrote, shortened."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        return text if len(text) <= PRINTED_SHOWN else text[:PRINTED_SHOWN] + f"\n… {len(text):,} characters in all"

    def close(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for descriptor in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._requests = self._answers = -1


def copies(args: Sequence[Any]) -> list[Any]:
    """The arguments with every array copied."""
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]
