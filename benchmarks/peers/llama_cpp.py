"""llama.cpp, where its `llama-bench` is on the PATH: the same weights in a GGUF file, timed by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.measure import Figures
from benchmarks.peers.protocol import NotRun, Plan
from engine.model import Model
from engine.timing import spread

PROGRAM = "llama-bench"
REPEATS = 7
GPU = ("-ngl", "99", "-fa", "1")  # all layers on the GPU, its own flash attention


def figures(model: Model, plan: Plan, in_time: Callable[[], bool], weights: str = "bf16") -> Iterator[tuple[str, Any]]:
    """Decode steps behind a prompt, and whole prompts; it takes random tokens of its own, and chooses none.

    Yields:
        As `benchmarks.peers.measure.figures`: `about`, `decode`, then `first` for each length.

    Raises:
        NotRun: the program is not there.
        RuntimeError: it fails; the message ends with what it says.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise NotRun(f"{PROGRAM}, llama.cpp's own benchmark, is not on the PATH")
    from benchmarks.peers import gguf_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        gguf_file.write(path, model, weights)
        if 1 in plan.batches:
            (row,) = bench(program, path, "-p", "0", "-n", str(plan.tokens), "-d", str(plan.prompt))
            times = [nanoseconds / plan.tokens for nanoseconds in row["samples_ns"]]
            about = {"llama_cpp": row.get("build_commit", "unknown"), "timed_by": PROGRAM}
            yield "about", about
            yield "decode", {"prompt_tokens": plan.prompt, "tokens": plan.tokens, **of_times(times, "token")}
        for length in plan.ttft:
            if not in_time():
                yield "first", {"prompt_tokens": length, "not_run": "the time for this peer was spent"}
                continue
            (row,) = bench(program, path, "-p", str(length), "-n", "0")
            yield "first", {"prompt_tokens": length, "tokens": 1, **of_times(row["samples_ns"], "first")}


def of_times(nanoseconds: list[float], name: str) -> Figures:
    """Times of it as the harness's figures."""
    found = spread([time * 1e-9 for time in nanoseconds])
    return {name: found, "tokens_per_s": 1 / found["median_s"] if name == "token" else None}


def bench(program: str, path: Path, *arguments: str) -> list[dict[str, Any]]:
    """What it prints.

    Raises:
        RuntimeError: it fails, or prints something else.
    """
    command = [program, "-m", str(path), *arguments, "-r", str(REPEATS), *GPU, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise RuntimeError(f"{PROGRAM} ended with status {done.returncode} and said {said}")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows
