"""Workers from the grader's side: started, limited, killed as a group. Nothing that a lesson does reaches further."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grader import channel, processes, sandbox
from grader.curriculum import REPOSITORY

CALL_LIMIT_S = 20.0
START_LIMIT_S = 180.0  # of a cold start: the first kernel on a machine compiles the runtime too
LOAD_LIMIT_S = 10.0  # of importing a lesson, also where calls have less
PRINTED_SHOWN = 2000
MOST_PROCESSES = 100  # a compiler takes five


class Worker:
    """One process that runs one lesson.

    Args:
        device: `cuda`, `cpu`, or "" for the best that answers.
        check: run kernels under the emulator's checker.
        costs: let the checker count what accesses cost.
        host_memory: count what Python objects and NumPy arrays take too, which slows them down.
        outputs: see `emulator.Checks`.
        schedules, seed: of the checker.
        memory_limit: bytes that it and all that it starts may hold; default: see grader/sandbox.py.
        sandboxed: in namespaces of its own (see grader/sandbox.py).
        readable, hidden: what it may and may not see there, beside what every worker may.
    """

    def __init__(
        self,
        device: str,
        *,
        check: bool = False,
        costs: bool = False,
        host_memory: bool = False,
        outputs: Sequence[str] = (),
        schedules: int = 4,
        seed: int = 0,
        call_limit_s: float = CALL_LIMIT_S,
        memory_limit: int | None = None,
        sandboxed: bool = False,
        readable: Sequence[Path] = (),
        hidden: Sequence[Path] = (),
    ) -> None:
        self.call_limit_s = call_limit_s
        self.memory_limit = memory_limit or sandbox.memory_limit()
        self.exceeded = ""  # which limit, in words
        self.left_behind = 0  # processes that the lesson had left when nothing was asked of it any more
        self._sandboxed, self._asked = sandboxed, False
        self.device_name, self.device_label = device or "cpu", device or "cpu"  # known once it has loaded a lesson
        self.scratch = Path(tempfile.mkdtemp(prefix="warp60-"))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
        requests_out, self._requests = os.pipe()
        self._answers, answers_in = os.pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",  # starting as many threads as cores takes longer than what they would save here
            "EMULATOR_TIME_LIMIT": str(max(1.0, call_limit_s / 2)),
            "TMPDIR": str(self.scratch),
            "WARP60_SCRATCH": str(self.scratch),
        }
        command = [sys.executable, "-m", "grader.worker", str(requests_out), str(answers_in)]
        if sandboxed:
            environment = sandbox.environment(environment, self.scratch)
            command = sandbox.prefix(self.scratch, readable=readable, hidden=hidden) + command
        processes.adopt_orphans()
        with processes.lock:
            self.process = subprocess.Popen(
                command,
                pass_fds=(requests_out, answers_in),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                cwd=self.scratch,
                env=environment,
                start_new_session=True,
            )
            processes.started(self.process.pid)
        os.close(requests_out)
        os.close(answers_in)
        self._started = False
        self._start = {
            "do": "start", "device": device, "check": check, "costs": costs, "host_memory": host_memory,
            "outputs": list(outputs), "schedules": schedules, "seed": seed,
        }  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was ended, by its user or for taking too long."""
        return self._requests == -1

    def load(
        self, folder: Path, protected: Sequence[Path] = (), pieces: Mapping[str, Path] | None = None
    ) -> dict[str, Any]:
        """Import the lesson in that folder; the answer's `outcome` is ok, or what went wrong.

        Args:
            folder: with lesson.py and the other files of the day.
            protected: files that it may not open.
            pieces: lessons that stand for parts of the engine (see engine/pieces.py); with some, or with none of them in an
                empty dict, answers say which parts were used.
        """
        if not self._started:
            self._started = True
            answer = self._ask(self._start, (), START_LIMIT_S)
            if answer["outcome"] != "ok":
                return answer
            self.device_name, self.device_label = str(answer["name"]), str(answer["device"])
        names = [str(path) for path in protected]
        order: dict[str, Any] = {"do": "load", "folder": str(folder.resolve()), "protected": names}
        if pieces is not None:
            order["pieces"] = {piece: str(path) for piece, path in pieces.items()}
        return self._ask(order, (), max(LOAD_LIMIT_S, self.call_limit_s))

    def call(
        self, function: str, args: Sequence[Any], in_place: int | None = None, again: bool = False
    ) -> dict[str, Any]:
        """Call the lesson's function on copies; with outcome ok, `result` is what came back.

        Args:
            in_place: number of the argument that the function fills: the result is what it holds afterwards.
            again: call it once more, on other copies; `shared` is whether both results lie in the same memory.
        """
        header = {"do": "call", "function": function, "in_place": in_place, "again": again}
        return self._with(header, args, self.call_limit_s)

    def measure(self, function: str, args: Sequence[Any]) -> dict[str, Any]:
        """Time the function on the GPU."""
        return self._with({"do": "measure", "function": function}, args, self.call_limit_s * 3)

    def _with(self, header: dict[str, Any], args: Sequence[Any], limit_s: float) -> dict[str, Any]:
        blobs: list[bytes | memoryview] = []
        return self._ask({**header, "args": channel.encode(list(args), blobs)}, blobs, limit_s)

    def _ask(self, header: dict[str, Any], blobs: Sequence[bytes | memoryview], limit_s: float) -> dict[str, Any]:
        try:
            self._asked = True
            channel.send(self._requests, header, blobs)
            if not self._wait(limit_s):
                self.close()
                if self.exceeded:
                    return {"outcome": "crashed", "message": self.exceeded}
                return {"outcome": "timed-out", "message": f"no answer within {limit_s:g} s"}
            self._asked = False
            answer, body = channel.receive(self._answers, limit_s, self.memory_limit)
            answer["outcome"] = str(answer["outcome"])
            if answer["outcome"] == "ok" and "result" in answer:
                answer["result"] = channel.Decoder(body).value(answer["result"])
        except (channel.ChannelClosed, KeyError, TypeError, ValueError, StopIteration, RecursionError):
            return {"outcome": "crashed", "message": self._how_it_ended()}
        return answer

    def _wait(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._answers], [], [], min(left, 0.1))[0]:
                return True
            count, held = processes.usage(self.process.pid)
            if count > MOST_PROCESSES:
                self.exceeded = f"it started more than {MOST_PROCESSES} processes"
            elif held > self.memory_limit:
                self.exceeded = f"it took more than {self.memory_limit / 2**30:.1f} GiB of memory"
            if self.exceeded:
                return False
        return False

    def _how_it_ended(self) -> str:
        try:
            status = self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "the worker's answer could not be understood"
        if status < 0:
            return f"the process was killed by {signal.Signals(-status).name}"
        last = self.printed().strip().splitlines()[-1:] or ["without a word (os._exit?)"]
        return f"the process ended with status {status} in the middle of a call: {last[0]}"

    def printed(self) -> str:
        """What the lesson wrote, shortened."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(0)
        text = self._log.read(PRINTED_SHOWN).decode(errors="replace")
        return text if size <= PRINTED_SHOWN else text + f"\n… {size:,} bytes in all"

    def close(self) -> None:
        """End the process and all that it started, and delete its scratch folder."""
        if self._requests == -1:
            return
        left = processes.end(self.process.pid)  # before it sees that nobody asks any more, and goes by itself
        self.process.wait()
        processes.end_orphans()
        # In the middle of a call it may be compiling; in a sandbox it has a process of its own below it.
        self.left_behind = 0 if self._asked or self._sandboxed else len(left)
        for descriptor in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._requests = self._answers = -1
        shutil.rmtree(self.scratch, ignore_errors=True)


def copies(args: Sequence[Any]) -> list[Any]:
    """The arguments with every array copied."""
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]
