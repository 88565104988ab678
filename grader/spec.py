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


@dataclass(frozen=True)
class Case:
    """One call of the lesson's function.

    Attributes:
        name: as the screen shows it.
        make: from a seeded generator, the positional arguments (arrays and plain numbers).
        sanitize: also run it under the emulator's checker (small cases only).
        count_costs: compare what it costs with the reference.
        needs_model: a model that must have been pulled; NOT RUN without it.
    """

    name: str
    make: Callable[[np.random.Generator], Sequence[Any]]
    sanitize: bool = False
    count_costs: bool = False
    needs_model: str = ""


@dataclass(frozen=True)
class BadInput:
    """A call that must be refused with ValueError, and what the message has to name."""

    name: str
    make: Callable[[np.random.Generator], Sequence[Any]]
    mentions: str


@dataclass(frozen=True)
class Speed:
    """What is timed on a GPU.

    Attributes:
        make: arguments of a size that fills the machine.
        bytes_moved: the least that the call must move, from its arguments.
        slowest: the lesson may take this many times as long as the reference.
    """

    name: str
    make: Callable[[np.random.Generator], Sequence[Any]]
    bytes_moved: Callable[[Sequence[Any]], int]
    slowest: float = 1.5


@dataclass(frozen=True)
class DayChecks:
    """How one day is graded.

    Attributes:
        function: the lesson's function.
        oracle: float64 result from the same arguments.
        budget: relative error that a correct answer may have, from the arguments (see grader/budget.py).
        outputs: kernel parameters of which every element must be written.
        cost_limits: largest ratio to the reference's counts, by name of the count.
    """

    function: str
    oracle: Callable[..., np.ndarray]
    budget: Callable[..., float]
    cases: Sequence[Case]
    bad_input: Sequence[BadInput] = ()
    outputs: Sequence[str] = ()
    cost_limits: Mapping[str, float] = field(default_factory=dict)
    speed: Speed | None = None
