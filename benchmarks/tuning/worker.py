"""Tries candidates on the device, in a process of its own: see benchmarks/tune.py, which starts it, and again after a crash."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import workers
from benchmarks.peers.protocol import NotRun
from benchmarks.peers.worker import open_model
from benchmarks.tuning import candidates
from benchmarks.tuning.trials import Bench, Figures, machine
from engine import device
from engine import machine as about
from engine.fused import cutting, persistent
from engine.fused.cutting import Cut

STAGES = (
    ("qkv", 1.0),
    ("output", 1.0),
    ("gate_up", 1.5),
    ("down", 1.5),
    ("head", 1.0),
    ("attention", 0.5),
    ("steps", 2.5),
    ("persistent", 4.0),
)
AT_ONCE = 16  # candidates that are compiled before the first of them is timed
BROKEN = 3  # exit status: the device does not answer any more
BETTER = 0.99  # of the default's time: more than chance


class BrokenDeviceError(RuntimeError):
    """A candidate has left the device unusable for this process."""


class Trials:
    """Candidates one after the other; those of an earlier process are not tried again.

    Args:
        job: `done`, names of candidates that were tried; `results`, what was found, by stage; `threads`, that compile.
        say: tells whoever started this process.
    """

    def __init__(self, bench: Bench, job: Mapping[str, Any], say: Callable[[workers.Line], None]) -> None:
        self.bench, self._say, self._done, self._threads = bench, say, set(job["done"]), job["threads"]
        self.results: dict[str, list[Figures]] = {name: list(job["results"].get(name, [])) for name, _ in STAGES}

    def one(self, stage: str, key: str, trial: Callable[[], Figures], again: bool = False) -> bool:
        """Try one; whether it ran.

        Args:
            again: even if it was tried before; then nothing is said of it.

        Raises:
            BrokenDeviceError: the device does not answer any more.
        """
        known = key in self._done
        if known and not again:
            return False
        if not known:
            self._say({"trying": key, "stage": stage})
        try:
            figures = {"key": key, **trial()}
        except Exception as error:
            figures = {"key": key, "failed": workers.one_line(error)}
        if not known:
            self._done.add(key)
            self.results[stage].append(figures)
            self._say({"stage": stage, "result": figures})
        try:
            device.synchronize()
        except Exception as error:
            raise BrokenDeviceError(workers.one_line(error)) from error
        return "failed" not in figures

    def kernel(self, name: str, in_time: Callable[[], bool]) -> None:
        """One kernel with all cuts that are worth a try."""
        matrix = candidates.matrices(self.bench.config)[name]
        default = self.bench.default_cuts[name]
        found = candidates.cuts(matrix, self.bench.kind, machine(), default)
        if not self.one(
            name, candidates.key_of(name, default), functools.partial(self.bench.kernel, name, default), again=True
        ):
            return  # the others would be compared with nothing
        rest = [cut for cut in found[1:] if candidates.key_of(name, cut) not in self._done]
        for first in range(0, len(rest), AT_ONCE):
            if not in_time():
                return
            some = rest[first : first + AT_ONCE]
            if self._threads > 1:
                self.bench.compile_ahead(name, some, self._threads)
            for cut in some:
                if not in_time():
                    return
                self.one(name, candidates.key_of(name, cut), functools.partial(self.bench.kernel, name, cut))

    def attention(self, in_time: Callable[[], bool]) -> None:
        """Attention in several numbers of parts."""
        default = self.bench.default_splits
        for number, splits in enumerate([default, *(n for n in candidates.SPLITS if n != default)]):
            if number and not in_time():
                return
            key = f"attention, {splits} parts, {self.bench.context} positions"
            ran = self.one("attention", key, functools.partial(self.bench.attention, splits), again=number == 0)
            if not number and not ran:
                return

    def steps(self, in_time: Callable[[], bool]) -> None:
        """Whole steps: the default's, then with what was best of each kernel, alone and together."""
        default = Choice({}, self.bench.default_splits, candidates.STEPS[1], True)
        for number, choice in enumerate(self.choices(default)):
            if number and not in_time():
                return
            trial = functools.partial(self.bench.whole, choice.cuts, choice.splits, choice.steps, choice.chained)
            if not self.one("steps", choice.key, trial, again=number == 0) and not number:
                return

    def persistent(self, in_time: Callable[[], bool]) -> None:
        """Whole steps in one kernel; at the end, what helped alone, together."""
        if persistent.why_not() is not None:
            return
        found = candidates.persistent()
        if self._threads > 1:
            _ = self.bench.tiles  # once, not in each thread
            self.bench.compile_persistent_ahead(found, self._threads)
        for number, options in enumerate(found):
            if number and not in_time():
                return
            self._persistent(options)
        together: dict[str, int] = {}
        for one in reversed(candidates.best(self.results["persistent"], 3)):
            together |= one["options"]
        self._persistent(together)

    def _persistent(self, options: Mapping[str, int]) -> None:
        named = ", ".join(f"{name} {value}" for name, value in sorted(options.items())) or "as by default"
        trial = functools.partial(self.bench.persistent, options, candidates.STEPS[1])
        self.one("persistent", f"one kernel, {named}", trial)

    def choices(self, default: Choice) -> Iterator[Choice]:
        """What is worth a try, the most promising first; later ones build on what the first have shown."""
        yield default
        better = {name: cuts[0] for name in candidates.KERNELS if (cuts := self.better(name))}
        splits = next((one["splits"] for one in candidates.best(self.results["attention"], 1)), default.splits)
        together = default.of(cuts=better)
        yield together
        yield together.of(splits=splits)
        for name, cut in better.items():
            yield default.of(cuts={name: cut})
        best = self.best_choice(default)
        for steps in candidates.STEPS:
            yield best.of(steps=steps)
        yield best.of(chained=False)
        for name in candidates.KERNELS:  # each kernel's next best, in place of what the best step has
            for cut in self.better(name)[1:4]:
                best = self.best_choice(default)
                yield best.of(cuts={**best.cuts, name: cut})
        for splits in candidates.SPLITS:
            yield self.best_choice(default).of(splits=splits)
        best = self.best_choice(default)
        for chained in (True, False):
            for steps in candidates.STEPS:
                yield best.of(steps=steps, chained=chained)

    def better(self, name: str) -> list[Cut]:
        """Cuts of a kernel that are faster than the default, the fastest first."""
        results = self.results[name]
        default = candidates.key_of(name, self.bench.default_cuts[name])
        usual = next((one["median_s"] for one in results if one["key"] == default and "median_s" in one), float("inf"))
        return [Cut(**one["cut"]) for one in candidates.best(results, 6) if one["median_s"] < BETTER * usual]

    def best_choice(self, default: Choice) -> Choice:
        """The fastest of the whole steps so far."""
        for one in candidates.best(self.results["steps"], 1):
            cuts = {name: Cut(**cut) for name, cut in one["cuts"].items()}
            return Choice(cuts, one["splits"], one["steps"], one["chained"])
        return default


class Choice:
    """How a whole step is run.

    Args:
        cuts: of the kernels that are not cut as by default.
    """

    def __init__(self, cuts: dict[str, Cut], splits: int, steps: int, chained: bool) -> None:
        self.cuts, self.splits, self.steps, self.chained = cuts, splits, steps, chained

    def of(self, **changed: Any) -> Choice:
        """The same but for these."""
        return Choice(**{**vars(self), **changed})

    @property
    def key(self) -> str:
        """Its name."""
        how = f"{self.splits} parts, {self.steps} steps a graph, {'chained' if self.chained else 'not chained'}"
        return "; ".join([how, *(candidates.key_of(name, cut) for name, cut in sorted(self.cuts.items()))])


def run(
    job: Mapping[str, Any], say: Callable[[workers.Line], None], clock: Callable[[], float] = time.monotonic
) -> None:
    """All stages, each within its share of the time.

    Raises:
        BrokenDeviceError: see `Trials.one`.
    """
    begin = clock()
    device.select(job["device"])
    on_gpu = device.name() == "cuda"
    say({"machine": about.gpu() if on_gpu else about.host()})
    bench = Bench(open_model(job["model"]), job["weights"], job["context"])
    defaults = {name: cut._asdict() for name, cut in bench.default_cuts.items()}
    matrices = {name: f"{matrix.rows} × {matrix.columns}" for name, matrix in candidates.matrices(bench.config).items()}
    say(
        {
            "default": {
                "cuts": defaults, "splits": bench.default_splits, "matrices": matrices,
                "model": cutting.name_of(bench.config),
            }
        }
    )  # fmt: skip
    trials = Trials(bench, job, say)
    for number, (stage, _) in enumerate(STAGES):
        now = clock()
        end = now + candidates.shares(STAGES[number:], job["seconds"] - (now - begin))
        in_time = lambda end=end: clock() < end  # noqa: E731
        if stage == "steps":
            trials.steps(in_time)
        elif stage == "persistent":
            trials.persistent(in_time)
        elif stage == "attention":
            trials.attention(in_time)
        else:
            trials.kernel(stage, in_time)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job; it says what it finds as it finds it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="a JSON file: what was found may be long")
    parser.add_argument("--lines", type=Path, required=True)
    options = parser.parse_args(arguments)
    workers.end_with_parent()

    def say(line: workers.Line) -> None:
        workers.say(options.lines, line)

    try:
        run(json.loads(options.job.read_text()), say)
    except (NotRun, device.DeviceError) as error:
        say({"not_run": str(error)})
    except BrokenDeviceError as error:
        print(error)
        return BROKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
