"""What the suites of matrix products share: numbers, the right answer in some rows, and operations per second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import budget, oracles
from grader.compare import Comparison, compare
from grader.spec import DTYPES, Allowed

FLOAT32, BFLOAT16 = DTYPES["float32"], DTYPES["bfloat16"]
SHAPES = (  # tokens, rows, columns
    (16, 1536, 576),  # SmolLM2-135M's MLP
    (128, 2048, 2048),
    (512, 8192, 2048),  # Llama 3.2 1B's
    (2048, 8192, 2048),
    (4096, 4096, 4096),
)
COPIES_ALIVE = 3  # of the weight: bfloat16, and twice that in float32


def shapes() -> list[dict[str, int]]:
    """The shapes of the products of several tokens."""
    return [{"tokens": tokens, "rows": rows, "columns": columns} for tokens, rows, columns in SHAPES]


def memory_needed(tokens: int, rows: int, columns: int) -> int:
    """Bytes on the GPU, of one set of arguments and a result."""
    return 2 * COPIES_ALIVE * rows * columns + 6 * tokens * columns + 4 * tokens * rows


def operations(tokens: int, rows: int, columns: int) -> int:
    """A multiplication and an addition for each token, row and column."""
    return 2 * tokens * rows * columns


@dataclass(frozen=True)
class Numbers:
    """Arguments of one call, on the GPU: the same numbers twice, each as its kernels want them.

    Attributes:
        x: float32 numbers that bfloat16 can hold, so that who wants them so gets the same.
        wide: the weight in float32.
    """

    x: Any
    narrow_x: Any
    weight: Any
    wide: Any


def numbers(generator: Any, x_shape: tuple[int, ...], rows: int, wide: bool) -> Numbers:
    """Random arguments; the float32 weight only where it is asked for."""
    narrow = generator.standard_normal(x_shape, np.float32).astype(BFLOAT16)
    weight = generator.standard_normal((rows, x_shape[-1]), np.float32).astype(BFLOAT16)
    return Numbers(narrow.astype(FLOAT32), narrow, weight, weight.astype(FLOAT32) if wide else None)


def check_of(
    x: np.ndarray, weight: np.ndarray, allowed: Callable[[np.ndarray, np.ndarray], Allowed]
) -> Callable[[np.ndarray, float], Comparison]:
    """Compares an answer with the exact product; a peer may also round its result to bfloat16."""
    expected, most = oracles.product(x, weight), allowed(x, weight)
    rounding = budget.unit_roundoff(BFLOAT16)

    def check(answer: np.ndarray, budgets: float) -> Comparison:
        if budgets == 1.0:
            return compare(answer, expected, FLOAT32, most)
        return compare(answer.astype(FLOAT32), expected, FLOAT32, Allowed(rounding, budgets * most.absolute))

    return check


def with_operations(figures: kernel_peers.Figures, work: int) -> kernel_peers.Figures:
    """The figures with operations per second, ours and the peers'."""

    def rate(one: Mapping[str, Any]) -> dict[str, Any]:
        inner = {name: rate(value) if isinstance(value, dict) else value for name, value in one.items()}
        return inner | ({"operations_per_s": work / one["median_s"]} if "median_s" in one else {})

    return {"operations": work, **rate(figures)}
