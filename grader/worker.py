"""The process that runs a lesson: started by `grader.runner`, never imported by the grader itself.

It takes messages on one pipe and answers on another; whatever the lesson prints goes to a file. The grader trusts none of
its answers: it compares the numbers itself.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engine import device
from grader import channel


class Lesson:
    """A loaded lesson.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = importlib.util.spec_from_file_location("lesson", folder / "lesson.py")
        assert spec is not None
        assert spec.loader is not None
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules["lesson"] = self.module
        spec.loader.exec_module(self.module)

    def call(self, function: str, args: list[Any]) -> tuple[Any, list[Any]]:
        """The function's result, and the arguments on the device as it left them."""
        if not callable(getattr(self.module, function, None)):
            raise AttributeError(  # noqa: TRY004  (it is what a missing function raises)
                f"lesson.py defines no function {function!r}"
            )
        on_device = [device.to_device(a) if isinstance(a, np.ndarray) else a for a in args]
        result = getattr(self.module, function)(*on_device)
        device.synchronize()
        return result, on_device


def guard_solutions(folder: Path, protected: Sequence[str]) -> None:
    """Refuse to open the reference solutions, unless they are what is being graded.

    Args:
        folder: of the lesson.
        protected: files of the day's solution that lie elsewhere, such as the kernel that the engine keeps.
    """
    solutions = os.path.realpath(Path(__file__).resolve().parents[1] / "solutions")
    if os.path.realpath(folder).startswith(solutions):
        return
    files = frozenset(protected)

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event not in ("open", "os.listdir", "os.scandir") or not args or not isinstance(args[0], str | bytes):
            return
        place = os.path.realpath(os.fsdecode(args[0]))
        if place in files or place.startswith(solutions):
            raise PermissionError("a lesson may not read the reference solution")

    sys.addaudithook(audit)


def where(error: BaseException, folder: Path) -> str:
    """`lesson.py:31` for the innermost frame of the lesson itself, or ""."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == folder]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def describe(error: BaseException, folder: Path) -> dict[str, Any]:
    """An exception as a message."""
    import emulator

    answer: dict[str, Any] = {
        "outcome": "raised",
        "type": type(error).__name__,
        "message": str(error)[:4000],
        "where": where(error, folder),
    }
    if isinstance(error, NotImplementedError):
        answer["outcome"] = "not-solved"
    elif isinstance(error, emulator.CompileError):
        answer["outcome"] = "compile-error"
        answer["diagnostics"] = [
            {"file": d.file, "line": d.line, "message": d.message, "text": d.text} for d in error.diagnostics[:5]
        ]
    elif type(error).__name__ == "CompileException":  # CuPy's
        answer["outcome"] = "compile-error"
        answer["diagnostics"] = _nvrtc_diagnostics(str(error), folder)
    elif isinstance(error, emulator.CheckError):
        answer["outcome"] = "unsafe"
        answer["findings"] = [_finding(f) for f in error.findings[:8]]
        answer["schedules"] = error.schedules
    elif isinstance(error, emulator.KernelTimeout):
        answer["outcome"] = "timed-out"
    elif isinstance(error, emulator.NoCompilerError):
        answer["outcome"] = "no-compiler"
    elif isinstance(error, emulator.KernelCrash) or "CUDA" in type(error).__name__:
        answer["outcome"] = "crashed"
    return answer


def _finding(finding: Any) -> dict[str, Any]:
    def place(p: Any, action: str) -> dict[str, Any]:
        return {
            "file": p.file, "line": p.line, "text": p.text.strip(), "action": action, "block": p.block, "thread": p.thread,
        }  # fmt: skip

    places = [place(finding.place, finding.action)] if finding.place.line else []
    if finding.other is not None:
        places.append(place(finding.other, finding.other_action))
        places.sort(key=lambda p: p["line"])  # as they stand in the source
    return {
        "kind": finding.kind, "message": finding.message, "advice": finding.advice, "places": places,
        "order": finding.order,
    }  # fmt: skip


def _nvrtc_diagnostics(log: str, folder: Path) -> list[dict[str, Any]]:
    import re

    text = (folder / "kernel.cu").read_text().splitlines() if (folder / "kernel.cu").is_file() else []
    out = []
    for match in re.finditer(r"\((\d+)\): (?:catastrophic )?error: (.*)", log):
        line = int(match[1])
        source = text[line - 1] if 0 < line <= len(text) else ""
        out.append({"file": "kernel.cu", "line": line, "message": match[2], "text": source})
    return out[:5]


def poison_empty_arrays() -> Callable[[], None]:
    """Let `empty` and `empty_like` give NaN (or -1), so that what a kernel never wrote is the same in every run.

    Returns:
        What undoes it: filling costs time that is not the lesson's.
    """

    def poisoned(make: Any) -> Any:
        @functools.wraps(make)
        def filled(*args: Any, **kwargs: Any) -> Any:
            array = make(*args, **kwargs)
            if array.size and array.flags.c_contiguous:
                array.reshape(-1).view(np.uint8)[:] = 0xFF
            return array

        return filled

    xp = device.xp
    plain = xp.empty, xp.empty_like
    xp.empty, xp.empty_like = poisoned(xp.empty), poisoned(xp.empty_like)

    def restore() -> None:
        xp.empty, xp.empty_like = plain

    return restore


class Session:
    """What the worker has loaded."""

    def __init__(self) -> None:
        self.lesson: Lesson | None = None
        self.folder = Path()
        self.costs: list[tuple[str, Any]] = []
        self.unpoison: Callable[[], None] = lambda: None

    def start(self, header: dict[str, Any]) -> dict[str, Any]:
        """Choose the device, and the checker if it is wanted."""
        check: Any = False
        if header["check"]:
            import emulator

            report = (lambda name, costs: self.costs.append((name, costs))) if header["costs"] else None
            check = emulator.Checks(
                schedules=header["schedules"],
                seed=header["seed"],
                outputs=tuple(header["outputs"]),
                costs=bool(header["costs"]),
                report=report,
            )
        name = device.select(header["device"] or None, check=check)
        if name == "cpu":  # compiled at its first use on a machine, in the time that starting may take
            from emulator.launch import runtime

            runtime()
        if not header["check"]:
            self.unpoison = poison_empty_arrays()
        return {"outcome": "ok", "name": name, "device": device.label()}

    def load(self, header: dict[str, Any]) -> dict[str, Any]:
        """Import a lesson."""
        self.folder = Path(header["folder"])
        guard_solutions(self.folder, header["protected"])
        self.lesson = Lesson(self.folder)
        return {"outcome": "ok"}

    def call(self, header: dict[str, Any], blob: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Run the lesson's function once."""
        assert self.lesson is not None
        args = channel.decode(header["args"], blob)
        self.costs.clear()
        before = time.perf_counter()
        result, left = self.lesson.call(header["function"], args)
        seconds = time.perf_counter() - before
        changed = [
            i for i, a in enumerate(args)
            if isinstance(a, np.ndarray) and device.to_host(left[i]).tobytes() != a.tobytes()
        ]  # fmt: skip
        if type(result).__module__.split(".")[0] not in ("numpy", "cupy") or not hasattr(result, "shape"):
            return {"outcome": "wrong-type", "type": type(result).__name__, "expected": device.xp.__name__}, []
        described, blobs = channel.encode([np.asarray(device.to_host(result))])
        answer = {"outcome": "ok", "result": described, "seconds": seconds, "changed": changed}
        if self.costs:
            answer["costs"] = _sum_costs(self.costs)
        return answer, blobs

    def measure(self, header: dict[str, Any], blob: bytes) -> dict[str, Any]:
        """Time the function on the GPU: CUDA events, the L2 cache flushed before each call."""
        from grader.timing import time_on_gpu

        assert self.lesson is not None
        self.unpoison()
        args = [device.to_device(a) if isinstance(a, np.ndarray) else a for a in channel.decode(header["args"], blob)]
        function = getattr(self.lesson.module, header["function"])
        return {"outcome": "ok", **time_on_gpu(lambda: function(*args))}


def _sum_costs(launches: list[tuple[str, Any]]) -> dict[str, float]:
    return {
        "global bytes": sum(c.global_bytes for _, c in launches),
        "bank conflicts": sum(c.bank_conflicts for _, c in launches),
        "barriers": sum(c.barriers for _, c in launches),
        "launches": len(launches),
    }


def main() -> None:
    """Serve until the grader closes the pipe."""
    requests, answers = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    session = Session()
    while True:
        try:
            header, blob = channel.receive(requests)
        except channel.ChannelClosed:
            return
        blobs: list[bytes] = []
        try:
            match header["do"]:
                case "start":
                    answer = session.start(header)
                case "load":
                    answer = session.load(header)
                case "call":
                    answer, blobs = session.call(header, blob)
                case _:
                    answer = session.measure(header, blob)
        except BaseException as error:
            answer = describe(error, session.folder)
        channel.send(answers, answer, blobs)


if __name__ == "__main__":
    main()
