"""The process that runs a lesson: started by `grader.runner`, never imported by the grader itself.

It takes messages on one pipe and answers on another; whatever the lesson prints goes to a file. The grader trusts none of
its answers: it compares the numbers itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import importlib.util
import itertools
import os
import resource
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engine import device, pieces
from grader import channel, guards, materialise, processes
from grader.spec import Stream


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

    def function(self, name: str) -> Callable[..., Any]:
        """One of its functions; `Class.method` makes an object of the first argument and calls the method with the rest.

        Raises:
            AttributeError: it has none of that name.
        """
        owner, _, method = name.rpartition(".")
        found = getattr(self.module, owner or method, None)
        if not callable(found) or (owner and not callable(getattr(found, method, None))):
            what = f"class {owner!r} with a method {method!r}" if owner else f"function {name!r}"
            raise AttributeError(f"lesson.py defines no {what}")
        if owner:
            return lambda first, *rest: getattr(found(first), method)(*rest)
        function: Callable[..., Any] = found
        return function


class Taken:
    """An iterator that knows how many of its items were taken."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items, self.count = iter(items), 0

    def __iter__(self) -> Taken:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item


MOST_RESULTS = 1_000_000  # of an iterator that a lesson returns


def plain(result: Any, taken: Taken | None) -> Any:
    """A lesson's result as `channel.encode` takes it: arrays on the host, iterators run to their end."""
    if isinstance(result, np.ndarray | str | bytes | int | float | bool | None):
        return result
    if type(result).__module__.split(".")[0] == "cupy" and hasattr(result, "shape"):
        return np.asarray(device.to_host(result))
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {f.name: plain(getattr(result, f.name), taken) for f in dataclasses.fields(result)}
    if isinstance(result, dict):
        return {key: plain(value, taken) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return type(result)([plain(v, taken) for v in result]) if type(result) in (list, tuple) else list(result)
    if isinstance(result, Iterator):
        out = []
        for item in itertools.islice(result, MOST_RESULTS):
            out.append((taken.count, item) if taken is not None else item)
        return out
    return result


def where(error: BaseException, folder: Path) -> str:
    """`lesson.py:31` for the innermost frame of the lesson itself, or ""."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames: list[traceback.FrameSummary] = []
    cause: BaseException | None = error
    while cause is not None:  # `raise … from error`: where it began
        frames = [f for f in traceback.extract_tb(cause.__traceback__) if Path(f.filename).parent == folder] or frames
        cause = cause.__cause__
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def describe(error: BaseException, folder: Path) -> dict[str, Any]:
    """An exception as a message."""
    import emulator

    answer: dict[str, Any] = {
        "outcome": "raised",
        "type": type(error).__name__,
        "value_error": isinstance(error, ValueError),
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
    elif isinstance(error, guards.Refused):
        answer["outcome"] = "refused"
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
        self.count_costs = self.count_memory = False
        self.tell_pieces = False
        self.folder = Path()
        self.costs: list[tuple[str, Any]] = []
        self.unpoison: Callable[[], None] = lambda: None

    def start(self, header: dict[str, Any]) -> dict[str, Any]:
        """Choose the device, and the checker if it is wanted."""
        check: Any = False
        if header["check"]:
            import emulator

            self.count_costs, self.count_memory = bool(header["costs"]), bool(header["host_memory"])
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
        guards.install(self.folder, header["protected"])
        if "pieces" in header:
            self.tell_pieces = True
            pieces.install({piece: Path(path) for piece, path in header["pieces"].items()})
        self.lesson = Lesson(self.folder)
        return {"outcome": "ok"}

    def call(self, header: dict[str, Any], blob: bytearray) -> tuple[dict[str, Any], list[bytes | memoryview]]:
        """Run the lesson's function once."""
        assert self.lesson is not None
        function = self.lesson.function(header["function"])
        decoder = channel.Decoder(blob, Path(tempfile.mkdtemp(dir=guards.scratch())))
        args = decoder.value(header["args"])
        guards.given.update(str(path.resolve()) for path in decoder.written)
        self.costs.clear()
        taken = next((Taken(a.items) for a in args if isinstance(a, Stream)), None)
        given = [taken if isinstance(a, Stream) else materialise.on_device(a) for a in args]
        before, worked = time.perf_counter(), time.process_time()
        with self.memory() as peak:
            result = function(*given)
            if isinstance(result, Iterator):
                result = plain(result, taken)
            device.synchronize()
        seconds, worked = time.perf_counter() - before, time.process_time() - worked
        if guards.refusals:
            return {"outcome": "refused", "type": "Refused", "message": guards.refusals[0], "where": ""}, []
        if header["in_place"] is not None:
            result = given[header["in_place"]]
        changed = [
            i for i, a in enumerate(args)
            if isinstance(a, np.ndarray) and i != header["in_place"] and device.to_host(given[i]).tobytes() != a.tobytes()
        ]  # fmt: skip
        changed_files = [path.name for path, content in decoder.written.items() if not same_file(path, content)]
        blobs: list[bytes | memoryview] = []
        try:
            described = channel.encode(plain(result, taken), blobs)
        except channel.Unsendable as error:
            return {"outcome": "wrong-type", "type": error.args[0], "expected": device.xp.__name__}, []
        answer = {
            "outcome": "ok", "result": described, "seconds": seconds, "changed": changed, "changed_files": changed_files,
        }  # fmt: skip
        if header["again"]:
            second = function(*map(materialise.on_device, args))
            arrays = all(isinstance(one, device.xp.ndarray) for one in (result, second))
            answer["shared"] = arrays and bool(device.xp.may_share_memory(result, second))
        if self.tell_pieces:
            answer["pieces"] = pieces.in_use()
        if self.count_costs:
            answer["costs"] = {**_sum_costs(self.costs), "milliseconds": round(1000 * worked, 1)}
            if self.count_memory:
                answer["costs"]["host bytes"] = peak[0]
        return answer, blobs

    @contextlib.contextmanager
    def memory(self) -> Iterator[list[int]]:
        """The most that Python objects and NumPy arrays took, in bytes; what a mapped file holds does not count."""
        peak = [0]
        if not self.count_memory:
            yield peak
            return
        gc.collect()
        gc.disable()  # or the peak depends on when it would have run
        tracemalloc.start()
        try:
            yield peak
            peak[0] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.enable()

    def measure(self, header: dict[str, Any], blob: bytearray) -> dict[str, Any]:
        """Time the function on the GPU: CUDA events, the L2 cache flushed before each call."""
        from grader.timing import time_on_gpu

        assert self.lesson is not None
        self.unpoison()
        args = channel.Decoder(blob).value(header["args"])
        given = [materialise.on_device(a) for a in args]
        function = self.lesson.function(header["function"])
        return {"outcome": "ok", **time_on_gpu(lambda: function(*given))}


def same_file(path: Path, content: bytes) -> bool:
    """Whether a file that the lesson was given is still as it was."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _sum_costs(launches: list[tuple[str, Any]]) -> dict[str, float]:
    return {
        "global bytes": sum(c.global_bytes for _, c in launches),
        "global requests": sum(c.total("requests", "global") for _, c in launches),
        "shared wavefronts": sum(c.total("transactions", "shared") for _, c in launches),
        "bank conflicts": sum(c.bank_conflicts for _, c in launches),
        "barriers": sum(c.barriers for _, c in launches),
        "launches": len(launches),
    }


def main() -> None:
    """Serve until the grader closes the pipe."""
    requests, answers = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    processes.adopt_orphans()  # what the lesson leaves behind stays below this process, where the grader looks
    largest = int(os.environ.get("WARP60_FILE_BYTES", 1 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    session = Session()
    while True:
        try:
            header, blob = channel.receive(requests)
        except channel.ChannelClosed:
            return
        blobs: list[bytes | memoryview] = []
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
