"""Sweeps how the fused kernels of a decode step cut their work, on a GPU.

    python benchmarks/tune.py [--model NAME] [--weights int8] [--seconds 280] [--out results]

First each kernel alone, inside a graph, on more weights than the L2 cache holds: warps, rows side by side, depth of the ring,
blocks. Then whole steps with what was best, 1, 4 or 8 in a graph,
chained or not, and whole steps as one kernel. Each candidate computes what the default
computes, or it is not timed. One that fails is recorded so; one that leaves the GPU unusable costs a new process, and the
others go on. Prints the best and writes `results/<gpu>/tune.json` as figures come. The exit status is 4 where no GPU answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import record, workers  # noqa: E402
from benchmarks.peers.worker import RANDOM  # noqa: E402
from benchmarks.tuning import candidates  # noqa: E402
from benchmarks.tuning.worker import STAGES  # noqa: E402
from engine.fused import cutting  # noqa: E402

MOST_RESTARTS = 8
THREADS = 8  # that compile at once; one after a crash
GRACE_S = 20.0  # a worker ends by itself; this much later it is ended
LEAST_S = 20.0  # a worker that has less finds nothing
SHOWN, SHOWN_OF_A_KERNEL = 10, 3
WRITE_S = 2.0  # the record is not written more often
Start = Callable[[dict[str, Any], float, Callable[[workers.Line], None]], str | None]


@dataclass
class Sweep:
    """A sweep, in as many processes as it takes, and its record.

    Attributes:
        start: runs a job in a process of its own: job, seconds, who gets the lines; why it did not end well, or None.
    """

    model: str
    weights: str
    context: int
    device: str
    seconds: float
    out: Path
    name: str
    start: Start
    clock: Callable[[], float] = time.monotonic
    machine: dict[str, Any] = field(default_factory=dict)
    default: dict[str, Any] = field(default_factory=dict)
    results: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name, _ in STAGES})
    not_run: str = ""
    _trying: dict[str, Any] | None = None
    _written: float = float("-inf")

    def run(self) -> None:
        """Until all is tried, or the time is over."""
        begin = self.clock()
        for restart in range(1 + MOST_RESTARTS):
            left = self.seconds - (self.clock() - begin)
            if restart and left < LEAST_S:
                break
            job = {
                "model": self.model, "weights": self.weights, "context": self.context, "device": self.device,
                "seconds": left, "threads": 1 if restart else THREADS, "results": self.results,
                "done": [one["key"] for found in self.results.values() for one in found],
            }  # fmt: skip
            failed = self.start(job, left + GRACE_S, self.heard)
            if failed is None or self.not_run:
                break
            print(f"the process did not end well: {failed}", flush=True)
            if self._trying is None:
                if self.machine and not restart:
                    continue  # it was compiling several candidates at once: now one after the other
                self.not_run = "" if self.machine else failed
                break
            self.heard({"stage": self._trying["stage"], "result": {"key": self._trying["trying"], "failed": failed}})
        self.write()

    def heard(self, line: workers.Line) -> None:
        """Something has come."""
        if "trying" in line:
            self._trying = line
        elif "result" in line:
            self._trying = None
            known = self.results[line["stage"]]
            if all(one["key"] != line["result"]["key"] for one in known):
                known.append(line["result"])
                print(f"{line['stage']}: {in_words(line['result'])}", flush=True)
        else:
            self.machine = line.get("machine", self.machine)
            self.default = line.get("default", self.default)
            self.not_run = line.get("not_run", self.not_run)
        if self.clock() - self._written > WRITE_S:
            self.write()

    def write(self) -> None:
        """The record so far."""
        if not self.machine:
            return
        self._written = self.clock()
        folder = self.out / record.slug(self.machine.get("gpu", "cpu"))
        record.write(
            folder, self.name, self.machine,
            {
                "model": self.model, "weights": self.weights, "context": self.context, "seconds": self.seconds,
                "default": self.default, "results": self.results,
                "best": [one["key"] for one in candidates.best(self.results["steps"], SHOWN)],
            },
        )  # fmt: skip


def in_words(result: Mapping[str, Any]) -> str:
    """A candidate on one line."""
    if "failed" in result:
        return f"{result['key']}: {result['failed']}"
    half = 50 * (result["quartile3_s"] - result["quartile1_s"]) / result["median_s"]
    words = f"{1e6 * result['median_s']:.2f} µs ± {half:.1f} %"
    if "bytes_per_s" in result:
        words += f", {result['bytes_per_s'] / 1e12:.2f} TB/s"
    if "tokens_per_s" in result:
        words += f", {result['tokens_per_s']:,.0f} tokens/s"
    return f"{words}: {result['key']}"


def show(sweep: Sweep) -> None:
    """The best of each kernel, and of the whole steps; how many failed."""
    for stage, _ in STAGES:
        found = sweep.results[stage]
        failed = sum("failed" in one for one in found)
        print(f"\n{stage}: {len(found)} candidates" + (f", {failed} of them failed" if failed else ""))
        if found and "median_s" in found[0]:
            print(f"  default   {in_words(found[0])}")
        for number, one in enumerate(
            candidates.best(found, SHOWN if stage in ("steps", "persistent") else SHOWN_OF_A_KERNEL)
        ):
            print(f"  {number + 1:>7}   {in_words(one)}")


def keep(sweep: Sweep, path: Path) -> None:
    """Write how the fastest steps were cut, or that they are one kernel, to where the engine looks; other entries stay."""
    best = candidates.best(sweep.results["steps"], 1)
    if not best:
        return
    found = json.loads(path.read_text()) if path.exists() else {}
    of_kind = found.setdefault(sweep.machine["gpu"], {}).setdefault(sweep.weights, {})
    for name, cut in (sweep.default["cuts"] | best[0]["cuts"]).items():
        of_kind[sweep.default["matrices"][name]] = [cut[key] for key in ("grid", "warps", "span", "depth")]
    of_kind.pop(sweep.default["model"], None)
    whole = candidates.best(sweep.results["persistent"], 1)
    if whole and whole[0]["median_s"] < best[0]["median_s"]:
        of_kind[sweep.default["model"]] = whole[0]["options"]
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def in_a_process(log: Path | None) -> Start:
    """Jobs in processes of their own."""

    def start(job: dict[str, Any], seconds: float, heard: Callable[[workers.Line], None]) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "job.json"
            path.write_text(json.dumps(job))
            return workers.run("benchmarks.tuning.worker", ["--job", str(path)], seconds, heard, log)

    return start


def main(arguments: Sequence[str] | None = None, start: Start | None = None) -> int:
    """Sweep, write, print; 0, or 4 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=RANDOM, help=f"{RANDOM} (random weights), smollm2-135m, or a folder")
    parser.add_argument("--weights", choices=["bfloat16", "int8"], default="bfloat16")
    parser.add_argument("--context", type=int, default=256, help="positions in the cache")
    parser.add_argument("--seconds", type=float, default=280.0, help="of the whole sweep")
    parser.add_argument("--out", type=Path, default=None, help="folder for the record; default: results")
    parser.add_argument("--keep", action="store_true", help=f"write the best to {cutting.TUNED.name}, for the engine")
    parser.add_argument("--log", type=Path, help="file for what the processes print")
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, only to see that all of it runs; needs --out"
    )
    options = parser.parse_args(arguments)
    if options.rehearse and options.out is None:
        parser.error("--rehearse: its times mean nothing, so name another folder than results with --out")
    names = ["tune"] if options.model == RANDOM else ["tune", record.slug(Path(options.model).name)]
    names += [options.weights] if options.weights != "bfloat16" else []
    sweep = Sweep(
        options.model, options.weights, options.context, "cpu" if options.rehearse else "cuda", options.seconds,
        options.out or REPOSITORY / "results", "-".join(names), start or in_a_process(options.log),
    )  # fmt: skip
    sweep.run()
    if sweep.not_run:
        print(f"NOT RUN: {sweep.not_run}", file=sys.stderr)
        return 4
    show(sweep)
    if options.keep:
        keep(sweep, cutting.TUNED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
