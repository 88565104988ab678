"""Day 23: how fast is it? Time to first token, time of each further one, memory, of runs repeated until they are known."""

import itertools
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import device
from engine.model import Model
from engine.timing import spread

Continue = Callable[[Sequence[int], int], Iterator[int]]  # what is measured: a prompt, and how many tokens at most

MISSES = 20  # of so many intervals, one may miss the median
TOLERANCE = 0.01  # a median is known when it is known to so much of itself, up and down
WARM_UPS = 2
MOST_RUNS = 100


@dataclass(frozen=True)
class Instruments:
    """What a measurement reads.

    Attributes:
        clock: seconds since some moment.
        synchronize: waits for all work that the device was given.
        reset_peak: forgets the peak so far.
        peak_bytes: the most memory that was taken since then, bytes; None where nobody knows.
    """

    clock: Callable[[], float]
    synchronize: Callable[[], None]
    reset_peak: Callable[[], None]
    peak_bytes: Callable[[], int | None]


def instruments() -> Instruments:
    """Those of the device in use.

    On a GPU the memory is what CuPy's pool took from it. On the CPU it is the process's own, where the system is Linux.
    """
    if device.name() == "cpu":
        return Instruments(time.perf_counter, device.synchronize, _reset_resident_peak, _resident_peak)
    import cupy

    pool = cupy.get_default_memory_pool()
    return Instruments(time.perf_counter, device.synchronize, pool.free_all_blocks, pool.total_bytes)


def _reset_resident_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: the peak becomes what is held now
    except OSError:
        return


def _resident_peak() -> int | None:
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


@dataclass(frozen=True)
class Run:
    """One text that was gone on with.

    Attributes:
        tokens: that came, at least one.
        first_s: seconds from the call to the first token.
        token_s: seconds that each further token took, on average; None where there was only one.
        peak_bytes: see `Instruments`.
    """

    tokens: int
    first_s: float
    token_s: float | None
    peak_bytes: int | None


def timed(go_on: Continue, ids: Sequence[int], tokens: int, read: Instruments) -> Run:
    """One run.

    A token that has come is known: nobody has to wait for it any more. The device may still be busy with what comes next, or
    at the beginning with what was before. What happens after the last token, such as the pass that finds a stop token, counts
    for nothing.

    Args:
        go_on: called with ids and tokens; its work may be done in that call, or when tokens are asked for.
        ids: the prompt.
        tokens: how many are asked for, at least 1; fewer may come.
        read: the peak of its memory is not reset here.

    Raises:
        ValueError: tokens is less than 1, or none came, or more came than that: the message names `tokens`. Or `clock` did not
            go forward from the call to the first token, and from there to the last; a NaN does not.
    """
    if not isinstance(tokens, int) or tokens < 1:
        raise ValueError(f"tokens is {tokens!r}: expected a whole number of at least 1")
    raise NotImplementedError("day 23: wait for the device, read the clock, then read it at every token")


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Between which of these values the true median lies, with 19 chances in 20 at least, whatever their distribution.

    Both ends are values themselves, equally far from the two ends of the sorted list, as close together as the chance allows.
    A value lies below the true median with probability 1/2, independently of the others.

    Returns:
        The lower and the upper end; None where there are too few values.
    """
    raise NotImplementedError("day 23: how many values can be left out at each end?")


def steady(values: Sequence[float]) -> bool:
    """Whether the interval is known, and no wider than `TOLERANCE` of the values' median up and the same down."""
    raise NotImplementedError("day 23: the interval's width beside the median")


def settled(runs: Sequence[Run]) -> bool:
    """Whether enough runs were made: both times are steady, the second where any run has it."""
    token_s = [run.token_s for run in runs if run.token_s is not None]
    return steady([run.first_s for run in runs]) and (not token_s or steady(token_s))


def repeated(
    go_on: Continue,
    ids: Sequence[int],
    tokens: int,
    read: Instruments,
    seconds: float = 60.0,
    most: int = MOST_RUNS,
    warm_ups: int = WARM_UPS,
) -> Iterator[Run]:
    """Runs, until enough is known.

    First come `warm_ups` runs that do not count: they compile, and let caches and clocks settle. Before each of these the peak
    is reset, and never again: so it is that of the last warm-up and of all that follows, and memory that a reset gives back is
    taken again outside of the runs that count.

    Args:
        go_on, ids, tokens, read: see `timed`.
        seconds: no run begins when so many have gone by on the clock since the warm-ups.
        most: runs that count, at least 1.
        warm_ups: at least 1.

    Yields:
        Each run that counts, as soon as it is made; one at least. The last is the one after which they are `settled`, or
        `most` were made, or the time is over.

    Raises:
        ValueError: see `timed`.
    """
    raise NotImplementedError("day 23: warm up, then runs until they are settled or one of the limits is reached")


@dataclass(frozen=True)
class Summary:
    """What several runs say together.

    Attributes:
        tokens: in the shortest of them.
        first: time to first token: `median_s`, `quartile1_s`, `quartile3_s`, `repeats`.
        token: the same of each further token; None where no run has it.
        peak_bytes: the largest; None where no run has it.
        steady: whether the runs are `settled`.
    """

    tokens: int
    first: Mapping[str, float]
    token: Mapping[str, float] | None
    peak_bytes: int | None
    steady: bool

    @property
    def tokens_per_s(self) -> float | None:
        """Of the decode steps."""
        return 1 / self.token["median_s"] if self.token else None


def summary(runs: Sequence[Run]) -> Summary:
    """Medians and quartiles, as `engine.timing.spread` computes them.

    Args:
        runs: at least one; some may have no `token_s`, or no `peak_bytes`.
    """
    raise NotImplementedError("day 23: what the runs say together, leaving out what a run does not have")


# ---- for the grading ------------------------------------------------------------------------------------------------

MOST_TOKENS = 10**9


class Machine:
    """A host with a device, in which time passes only by what they do. All times are whole microseconds.

    The plan says, where it is not the default:

    - prefill, step, grows: what the device needs for a token of the prompt, for the first decode step, and more for each
      further step; host: what the host needs for each pass.
    - comes: tokens until a stop token is found, in a pass of its own.
    - ahead: each pass is launched before the token of the pass before it is read.
    - eager: the prompt goes through in the call, not when the first token is asked for.
    - left: work that the device has from before.
    - prompts, steps, bytes: of each call: how many times as long the prompt takes; how many times as long each decode step
      takes; the memory. They begin anew when they end.
    - refill: what the host needs for memory after a reset.
    - clock: `forward`, or how it is broken; tokens too many: `extra`.
    """

    def __init__(self, plan: Mapping[str, Any]) -> None:
        usual: dict[str, Any] = {
            "prefill": 1000, "step": 5000, "grows": 0, "host": 0, "comes": MOST_TOKENS, "ahead": False, "eager": False,
            "left": 0, "prompts": [1], "steps": [1], "bytes": [1000], "refill": 0, "clock": "forward", "extra": 0,
        }  # fmt: skip
        self.plan = usual | dict(plan)
        self.now = self.calls = 0
        self.busy_until: int = self.plan["left"]
        self.peak, self.was_reset = 1 << 40, False

    def instruments(self) -> Instruments:
        """Its own."""
        return Instruments(self.clock, lambda: self.wait(self.busy_until), self.reset_peak, lambda: self.peak)

    def clock(self) -> float:
        """Seconds."""
        broken = {"NaN": math.nan, "stopped": 1.0, "backwards": -self.now / 1e6}
        return broken.get(self.plan["clock"], self.now / 1e6)

    def reset_peak(self) -> None:
        """Memory is given back, and has to be taken again."""
        self.peak, self.was_reset = 0, True

    def wait(self, until: int) -> None:
        """The host waits for the device."""
        self.now = max(self.now, until)

    def launch(self, cost: int) -> int:
        """When the device will be done with it."""
        self.now += self.plan["host"]
        self.busy_until = max(self.busy_until, self.now) + cost
        return self.busy_until

    def go_on(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        """A `Continue`."""
        plan = self.plan
        of_each_call = (plan[name] for name in ("prompts", "steps", "bytes"))
        slower, slower_step, taken = (values[self.calls % len(values)] for values in of_each_call)
        self.calls += 1
        self.now += plan["refill"] * self.was_reset
        self.was_reset = False
        self.peak = max(self.peak, taken)
        prompt = slower * plan["prefill"] * len(ids)
        if plan["eager"]:
            self.wait(self.launch(prompt))
            prompt = 0
        return self.passes(
            prompt, slower_step, min(tokens, plan["comes"]) + plan["extra"], stops=plan["comes"] < tokens
        )

    def passes(self, prompt: int, slower: int, tokens: int, stops: bool) -> Iterator[int]:
        """The prompt, unless it went through already, then a pass for each further token."""
        plan = self.plan
        ready = self.launch(prompt)  # with nothing to do, the host looks whether the device is done
        for number in range(tokens):
            cost = slower * (plan["step"] + number * plan["grows"])
            following = self.launch(cost) if plan["ahead"] else None
            self.wait(ready)
            yield number
            if number + 1 < tokens or stops:
                ready = following or self.launch(cost)
        if stops:
            self.wait(ready)


def rounded(value: Any) -> Any:
    """The same to the nanosecond: computed in another order, seconds differ in their last digits."""
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return round(value, 9) if isinstance(value, float) else value


def timed_on(plan: Mapping[str, Any], prompt: int, tokens: int) -> dict[str, Any]:
    """One run on a machine."""
    machine = Machine(plan)
    return dict(rounded(asdict(timed(machine.go_on, range(prompt), tokens, machine.instruments()))))


def steady_lists(lists: Mapping[str, Sequence[float]]) -> dict[str, bool]:
    """Which of several lists are steady."""
    return {name: steady(values) for name, values in lists.items()}


def repeated_on(
    plan: Mapping[str, Any], prompt: int, tokens: int, seconds: float, most: int, warm_ups: int
) -> list[tuple[int, dict[str, Any]]]:
    """Each run on a machine, with how many had been made by then, those that do not count among them."""
    machine = Machine(plan)
    runs = repeated(machine.go_on, range(prompt), tokens, machine.instruments(), seconds, most, warm_ups)
    return [(machine.calls, rounded(asdict(run))) for run in itertools.islice(runs, 1000)]


def summary_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What runs say together."""
    return dict(rounded(asdict(summary([Run(**run) for run in runs]))))


def timed_engine(model: Model, ids: Sequence[int], tokens: int) -> dict[str, Any]:
    """Day 21's loop on a clock that counts how often a token is chosen: 1 s each."""
    from engine.generate import Recorder, generate

    recorder = Recorder(())
    read = Instruments(lambda: float(len(recorder.asked)), device.synchronize, lambda: None, lambda: None)
    return asdict(timed(lambda prompt, most: generate(model, prompt, most, recorder), ids, tokens, read))
