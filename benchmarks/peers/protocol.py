"""What a peer is: something that goes on with texts, and what is measured of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine import bench_report, device
from engine.benchmark import Continue, Instruments

# Several prompts of one length, and how many tokens at most: after each step the new token of every text.
ContinueAll = Callable[[Sequence[Sequence[int]], int], Iterator[Sequence[int | None]]]


class NotRun(Exception):  # noqa: N818  (named for the state, as its message does)
    """A peer cannot be measured here; the message says what is missing."""


@dataclass(frozen=True)
class Plan:
    """What is measured, the same for all.

    Attributes:
        prompt: tokens of each prompt.
        tokens: that follow.
        batches: texts at once.
        ttft: prompts of which the time to the first token is measured.
        seconds: of each figure; none of its runs begins after so many, but for those that a median needs.
        runs: of each figure, at most.
        compile_mode: of torch.compile; "" to leave it out.
    """

    prompt: int = 128
    tokens: int = 256
    batches: tuple[int, ...] = (1, 8, 32, 64)
    ttft: tuple[int, ...] = (16, 128, 512, 2048)
    seconds: float = 6.0
    runs: int = 30
    compile_mode: str = "reduce-overhead"

    @property
    def capacity(self) -> int:
        """Tokens of the longest text."""
        return max([self.prompt + self.tokens, *(length + 1 for length in self.ttft)])

    def ids(self, length: int, vocab_size: int) -> list[int]:
        """A prompt, the same for every peer."""
        return bench_report.prompt(length, vocab_size)

    def prompts(self, texts: int, vocab_size: int) -> list[list[int]]:
        """As many prompts of `self.prompt` tokens, none like the other."""
        ids = bench_report.prompt(texts * self.prompt, vocab_size)
        return [ids[n * self.prompt : (n + 1) * self.prompt] for n in range(texts)]

    def as_json(self) -> dict[str, Any]:
        """For the record and the worker."""
        return dataclasses.asdict(self)

    @staticmethod
    def of_json(values: Mapping[str, Any]) -> Plan:
        """The inverse."""
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return Plan(**fields)


@dataclass(frozen=True)
class Prepared:
    """A peer with a model in it.

    Attributes:
        go_on: one text; None where it is only made for several.
        go_on_all: several texts; None where it takes one.
        read: clock and memory.
        about: for the record: versions, bytes of weights that a decode step reads.
    """

    go_on: Continue | None = None
    go_on_all: ContinueAll | None = None
    read: Instruments = field(default_factory=lambda: instruments())
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """Who is measured.

    Attributes:
        name: for `--only` and in the record.
        label: for people.
        weights: what they are stored as: `bfloat16` or `int8`, or a name of llama.cpp's.
        module: of this package; it has `prepare(model, plan, **options) -> Prepared`, or it measures by itself:
            `figures(model, plan, **options)`, which yields what `measure.figures` yields.
        options: for either.
        measured: which of `decode`, `first`, `batches`.
    """

    name: str
    label: str
    weights: str
    module: str
    options: Mapping[str, Any]
    measured: tuple[str, ...]


def instruments(clock: Callable[[], float] = time.perf_counter) -> Instruments:
    """The same for every peer: all that the GPU's memory holds, whoever took it."""
    return Instruments(clock, device.synchronize, lambda: None, memory_in_use)


def memory_in_use() -> int | None:
    """Bytes of the GPU that are taken, context and pools too; None on the CPU."""
    if device.name() == "cpu":
        return None
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    return int(total - free)
