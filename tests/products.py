"""What days 8, 9 and 10 are judged by: products of x and a bfloat16 weight, against float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from grader import compare, oracles
from grader.spec import Allowed
from tests import lessons

FLOAT32 = np.dtype(np.float32)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Product:
    """A day's function of x and weight.

    Attributes:
        allowed: its budget, from the arguments.
        kind: of x.
    """

    function: Callable[..., Any]
    allowed: Callable[[np.ndarray, np.ndarray], Allowed]
    kind: np.dtype = FLOAT32

    def numbers(self, seed: int, tokens: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Arguments whose rows differ in size, so that none hides behind the others."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((tokens, columns)) * 2.0 ** rng.uniform(-2, 2, (tokens, 1))
        weight = rng.standard_normal((rows, columns)) * 2.0 ** rng.uniform(-2, 2, (rows, 1))
        return x.astype(self.kind), weight.astype(BFLOAT16)

    def run(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """See `lessons.answer`."""
        return lessons.answer(self.function, x, weight)

    def judged(self, got: np.ndarray, x: np.ndarray, weight: np.ndarray) -> compare.Comparison:
        """An answer beside the exact one."""
        return compare.compare(got, oracles.product(x, weight), FLOAT32, self.allowed(x, weight))

    def assert_right(self, x: np.ndarray, weight: np.ndarray, got: np.ndarray | None = None) -> None:
        """What it answers, or `got` in its place, is within the budget."""
        result = self.judged(self.run(x, weight) if got is None else got, x, weight)
        assert result.right, (result.problem, result.rows)
