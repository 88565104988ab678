"""The vocabulary in which `grader/checks/` says how a day is graded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
Make = Callable[[np.random.Generator], Sequence[Any]]


# ---- arguments that are more than arrays and plain values --------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A file: the lesson gets the path of a copy that only it has."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Folder:
    """A folder of files: the lesson gets the path of a copy that only it has."""

    name: str
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Model:
    """A model that was pulled: the lesson gets the path of its folder, or of a file in it, and may only read it."""

    name: str
    file: str = ""


@dataclass(frozen=True)
class Part:
    """An array in the middle of a larger one: on the lesson's device it starts at no multiple of 16 bytes."""

    values: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class LlamaConfig:
    """A model's configuration, in the words of config.json: the lesson gets an `engine.config.Config`."""

    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Llama:
    """A whole model, random or pulled: the lesson gets an `engine.model.Model` on its device."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    pulled: str = ""


@dataclass(frozen=True)
class Stream:
    """An iterator over these items. The result, an iterator too, becomes a list of (items taken so far, result)."""

    items: tuple[Any, ...]


# ---- checks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Allowed:
    """How far a correct answer may lie from the exact one: `relative · |exact| + absolute`, for each element.

    Attributes:
        absolute: a number, or an array of the result's shape.
    """

    relative: float
    absolute: Any = 0.0


@dataclass(frozen=True)
class Case:
    """One call of the lesson's function.

    Attributes:
        name: as the screen shows it; no two of a day share one.
        make: from a seeded generator, the positional arguments: arrays, plain values, `File`, `Folder`, `Model`, `Stream`.
        sanitize: also run it under the emulator's checker (small cases only).
        count_costs: compare what it costs with the reference.
    """

    name: str
    make: Make
    sanitize: bool = False
    count_costs: bool = False


@dataclass(frozen=True)
class BadInput:
    """A call that must be refused with ValueError, and what the message has to name: one thing or several."""

    name: str
    make: Make
    mentions: str | tuple[str, ...]


@dataclass(frozen=True)
class Speed:
    """What is timed on a GPU.

    Attributes:
        make: arguments of a size that fills the machine.
        bytes_moved: the least that the call must move, from its arguments; or
        operations: the floating-point operations that it takes, where they and not the bytes decide.
        slowest: the lesson may take this many times as long as the reference.
    """

    name: str
    make: Make
    bytes_moved: Callable[[Sequence[Any]], int] | None = None
    operations: Callable[[Sequence[Any]], int] | None = None
    slowest: float = 1.5

    def rate(self, args: Sequence[Any], seconds: float) -> dict[str, float]:
        """What was done in a second, by its unit."""
        if self.operations is not None:
            return {"TFLOP/s": self.operations(args) / seconds / 1e12}
        assert self.bytes_moved is not None
        return {"GB/s": self.bytes_moved(args) / seconds / 1e9}


@dataclass(frozen=True)
class Task:
    """How one function of a lesson is graded.

    Attributes:
        function: its name; `Class.method` makes an object of the first argument and calls the method with the others.
        oracle: the right result from the same arguments. With a budget: a float64 array, or a dict of them by name, which
            are compared in that order. Without: exactly what must come
            back, arrays bit for bit, nested in dicts, lists and tuples as the lesson's are (a dataclass counts as a dict).
        budget: how far off a correct answer may be, from the arguments (see grader/budget.py), for a dict of arrays by name;
            None for not at all.
        dtype: of the result, from the arguments; only with a budget. Default: that of the first argument.
        compared: what of a result is compared, from the arguments and the result. Default: all of it.
        in_place: number of the argument that the function fills in place of returning something.
        fresh: each call's result lies in memory of its own; seen by a second call in the first case.
        outputs: kernel parameters of which every element must be written; `kernel:name` where not all kernels have it.
        cost_limits: largest ratio to the reference's counts, by name: `global bytes`, `global requests` (a warp's loads and
            stores), `shared wavefronts` (trips of a warp to shared memory), `bank conflicts`, `barriers`, `launches`,
            `host bytes` (the most that Python objects and NumPy arrays took at any time in the call), `milliseconds` (of work
            by the host's processor: it shows who does things over and over, so give it a limit that no noise reaches).
    """

    function: str
    oracle: Callable[..., Any]
    cases: Sequence[Case]
    budget: Callable[..., Allowed | float | Mapping[str, Allowed | float]] | None = None
    dtype: Callable[..., np.dtype] = lambda *args: args[0].dtype
    compared: Callable[[Sequence[Any], Any], Any] = lambda _args, result: result
    in_place: int | None = None
    fresh: bool = False
    bad_input: Sequence[BadInput] = ()
    outputs: Sequence[str] = ()
    cost_limits: Mapping[str, float] = field(default_factory=dict)
    speed: Speed | None = None


@dataclass(frozen=True)
class DayChecks:
    """How one day is graded: its functions, in the order in which a learner writes them."""

    tasks: Sequence[Task]


def arguments(what: Case | BadInput | Speed, seed: int) -> Sequence[Any]:
    """The arguments of a case: they depend on the seed and the case's name, not on which cases ran before."""
    return what.make(np.random.default_rng([seed, *what.name.encode()]))
