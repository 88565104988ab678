"""The time of each kernel inside a real pass, measured: by CUDA events on a GPU, by the clock in the emulator."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import numpy as np

from engine import device
from engine.model import Model
from engine.timing import hold_gpu
from engine.tracing import tracing

PASSES = {"cuda": 20, "cpu": 6}  # fewer than 6 do not hold a median (day 23)
BATCH = 16  # launches that are queued while the GPU is held
HOLD_MS, LONGEST_HOLD_MS = 2.0, 64.0
# Notes of the forward pass (days 16 and 17) that come right after work that is no kernel of ours.
NOTED = {"embedding": "widen", "after attention": "add", "output": "add"}


class HostTooSlow(device.DeviceError):
    """The GPU waited for the host while kernels were timed, so their times would hold the wait too."""


@dataclass
class WallClock:
    """Times in the emulator, where a launch has ended when it returns."""

    def before_launch(self) -> None:
        """Nothing to prepare."""

    def mark(self) -> float:
        """This moment."""
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        """Between two moments."""
        return end - begin

    def finish(self) -> bool:
        """Whether the marks can be trusted."""
        return True


@dataclass
class EventClock:
    """Times on the GPU, by events between the kernels.

    A GPU that waits for Python to queue the next kernel would be timed waiting. So every few launches it is held busy for
    longer than Python needs for them, and afterwards it is asked whether that was long enough.
    """

    hold_ms: float = HOLD_MS
    _launches: int = 0
    _held: list[Any] = field(default_factory=list)  # events after the holds
    _late: bool = False

    def before_launch(self) -> None:
        """Keep ahead of the GPU."""
        if self._launches % BATCH == 0:
            self._look()
            hold_gpu(self.hold_ms)
            self._held.append(self.mark())
        self._launches += 1

    def _look(self) -> None:
        """Was the last hold still on when its batch was queued?"""
        self._late |= bool(self._held) and self._held[-1].done

    def mark(self) -> Any:
        """When the GPU has come to this point."""
        import cupy

        event = cupy.cuda.Event()
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """Between two points; only after `finish`."""
        import cupy

        return float(cupy.cuda.get_elapsed_time(begin, end)) * 1e-3

    def finish(self) -> bool:
        """Wait for the GPU. Whether it never waited for the host; if it did, the next holds are longer."""
        self._look()
        device.synchronize()
        late, self._late, self._launches = self._late, False, 0
        self._held.clear()
        if late:
            self.hold_ms *= 2
        return not late


class Watch:
    """Sees the launches of a pass and says which kernel of the roofline each belongs to.

    It goes by the operation that is being called, and by the weight that it was given: it does not matter how many kernels an
    operation launches, what they are called, or whose they are.
    """

    def __init__(self, model: Model, clock: WallClock | EventClock) -> None:
        self._clock = clock
        self._weights = {id(model.norm): "final norm", id(model.head): "lm_head"}
        for layer in model.layers:
            for name, weight in layer.items():
                part = name.split(".")[-2]
                self._weights[id(weight)] = "norm" if part.endswith("layernorm") else part
        self._heads = model.config.num_attention_heads
        self._groups = self._heads // model.config.num_key_value_heads
        self._rotations = 0
        self._operations = _operations()
        self._spans: list[tuple[str, Any, Any]] = []
        self._last: Any = None

    def launch(self, name: str, launch: Callable[[], Any]) -> Any:
        """A tracer: times a launch, between two marks."""
        kernel = self._kernel(sys._getframe(1)) or f"other: {name}"
        self._clock.before_launch()
        begin = self._clock.mark()
        result = launch()
        self._last = self._clock.mark()
        self._spans.append((kernel, begin, self._last))
        return result

    def note(self, name: str, _tensor: Any) -> None:
        """What the forward pass notes: where it comes after work of the array library, that is from the last launch to here."""
        kernel = NOTED.get(name.split(" ", 2)[2] if name.startswith("layer ") else name)
        if kernel is not None and self._last is not None:
            self._spans.append((kernel, self._last, self._clock.mark()))

    def collect(self) -> dict[str, float] | None:
        """Seconds of all launches of each kernel since the last call; None where they cannot be trusted."""
        trusted = self._clock.finish()
        sums: dict[str, float] = {}
        for kernel, begin, end in self._spans:
            sums[kernel] = sums.get(kernel, 0.0) + self._clock.seconds(begin, end)
        self._spans.clear()
        self._last, self._rotations = None, 0
        return sums if trusted else None

    def _kernel(self, frame: FrameType | None) -> str | None:
        """Of the innermost operation that is being called; None for one that the roofline does not know."""
        while frame is not None:
            operation = self._operations.get(frame.f_code)
            if operation in ("linear", "rmsnorm"):
                return self._weights.get(id(frame.f_locals.get("weight")))
            if operation == "rope":
                return self._rotation(frame)
            if operation is not None:
                return operation
            frame = frame.f_back
        return None

    def _rotation(self, frame: FrameType) -> str:
        """Queries or keys: by their heads; where there are as many of both, queries come first."""
        self._rotations += 1
        if self._groups == 1:
            return "rope q" if self._rotations % 2 else "rope k"
        return "rope q" if frame.f_locals["x"].shape[1] == self._heads else "rope k"


def _operations() -> dict[CodeType, str]:
    """The operations of a pass by their code: whoever wrote them, see `engine.pieces`."""
    from engine.cache import LayerCache
    from engine.ops.argmax import largest_indices
    from engine.ops.attend import attend
    from engine.ops.embedding import embedding
    from engine.ops.linear import linear
    from engine.ops.mlp import swiglu
    from engine.ops.rmsnorm import rmsnorm
    from engine.ops.rope import rope

    named = {
        "embedding": embedding, "linear": linear, "rmsnorm": rmsnorm, "rope": rope, "append": LayerCache.append,
        "attention": attend, "swiglu": swiglu, "argmax": largest_indices,
    }  # fmt: skip
    return {function.__code__: name for name, function in named.items()}


def measure(model: Model, tokens: int, length: int) -> dict[str, list[float]]:
    """Time every kernel of a pass, over several passes.

    The caches before the pass are filled with random numbers: times do not depend on them.

    Args:
        tokens: that go in.
        length: in the caches afterwards.

    Returns:
        By the names of `engine.roofline.kernels`, and `other: …` for what it does not know: seconds of all launches of a
        pass, for each pass. What was never launched is missing.

    Raises:
        HostTooSlow: see there.
        ValueError: the model cannot make the pass.
    """
    clock = EventClock() if device.name() == "cuda" else WallClock()
    watch = Watch(model, clock)
    one_pass = _pass(model, tokens, length, watch.note)
    one_pass()  # compiles
    watch.collect()
    passes: list[dict[str, float]] = []
    with tracing(watch.launch):
        while len(passes) < PASSES[device.name()]:
            one_pass()
            sums = watch.collect()
            if sums is not None:
                passes.append(sums)
            elif isinstance(clock, EventClock) and clock.hold_ms > LONGEST_HOLD_MS:
                raise HostTooSlow("the GPU had to wait for this process while its kernels were timed: is the CPU busy?")
    return {name: [sums.get(name, 0.0) for sums in passes] for name in passes[0]}


def _pass(model: Model, tokens: int, length: int, note: Callable[[str, Any], None]) -> Callable[[], None]:
    """A pass of `tokens` that leaves `length` in the caches, to be made any number of times."""
    from engine.cache import make_caches
    from engine.ops.argmax import largest_indices
    from engine.ops.forward import forward

    rng, config, before = np.random.default_rng(1), model.config, length - tokens
    caches = make_caches(config, length)
    if before > 0:
        shape = before, config.num_key_value_heads, config.head_dim
        filling = device.to_device(rng.standard_normal(shape, np.float32))
        for cache in caches:
            cache.append(filling, filling)
    ids = device.to_device(rng.integers(0, config.vocab_size, tokens).astype(np.int32))
    positions = device.to_device(np.arange(before, length, dtype=np.int32))

    def make() -> None:
        largest_indices(forward(model, ids, positions, caches, last_only=True, note=note))
        for cache in caches:
            cache.truncate(before)

    return make
