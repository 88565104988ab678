"""A lesson's answer beside the right one: how far off, where first, and in what pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        share: error as a share of the budget: 1 is the most that is allowed. NaN where it cannot be compared.
        problem: one line, or "" when the answer is right.
        rows: label and text pairs that explain it.
    """

    share: float
    problem: str
    rows: tuple[tuple[str, str], ...] = ()

    @property
    def right(self) -> bool:
        """Whether the answer is within the budget; a NaN never is."""
        return not self.problem


def compare(got: np.ndarray, expected: np.ndarray, dtype: np.dtype, budget: float) -> Comparison:
    """Compare with a float64 reference.

    Args:
        got: the lesson's result, of any shape and dtype.
        expected: float64, the right shape.
        dtype: that the result must have.
        budget: relative error that each element, and the whole in the Euclidean norm, may have.
    """
    if got.shape != expected.shape:
        return Comparison(np.nan, f"shape {got.shape}, expected {expected.shape}")
    if got.dtype != dtype:
        return Comparison(np.nan, f"dtype {got.dtype}, expected {dtype}")
    if expected.size == 0:
        return Comparison(0.0, "")
    answer = got.astype(np.float64)
    # Below the smallest normal number of the dtype, precision ends for everybody.
    floor = float(np.finfo(np.float32).tiny)
    allowed = budget * np.abs(expected) + floor
    with np.errstate(invalid="ignore", over="ignore"):
        shares = np.abs(answer - expected) / allowed
        norm = float(np.linalg.norm(answer - expected) / (budget * np.linalg.norm(expected) + floor))
    bad = ~(shares <= 1.0)  # a NaN is bad
    if not bad.any() and norm <= 1.0:
        return Comparison(max(float(shares.max()), norm), "")
    return Comparison(
        float(np.nanmax(shares)) if np.isfinite(shares).any() else np.nan, *_explain(answer, expected, shares, bad)
    )


def _explain(
    answer: np.ndarray, expected: np.ndarray, shares: np.ndarray, bad: np.ndarray
) -> tuple[str, tuple[tuple[str, str], ...]]:
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    place = ", ".join(map(str, index))
    share = shares[index]
    size = (
        ""
        if np.isnan(answer[index])
        else f"{share:,.0f} × the budget"
        if share > 20
        else f"{100 * share:.0f} % of the budget"
    )
    count = int(bad.sum())
    rows = [
        ("first difference", f"out[{place}]   expected {expected[index]:.6g}   got {answer[index]:.6g}   {size}"),
        (
            "how many",
            f"{count:,} of {bad.size:,} elements" + (f"; {text}" if (text := pattern(bad, answer, expected)) else ""),
        ),
    ]
    return f"{count:,} of {bad.size:,} elements are wrong", tuple(rows)


def pattern(bad: np.ndarray, answer: np.ndarray, expected: np.ndarray) -> str:
    """What the wrong elements have in common, in words; "" where nothing stands out."""
    words = []
    if np.isnan(answer[bad]).all():
        words.append("all of them NaN: never written, or computed from what never was")
    elif (answer[bad] == 0).all():
        words.append("all of them 0")
    if bad.ndim == 2 and not bad.all():
        columns, rows = np.asarray(bad.all(axis=0)), np.asarray(bad.all(axis=1))
        if columns.any() and (bad == columns[None, :]).all():
            first, last = int(columns.argmax()), int(len(columns) - columns[::-1].argmax() - 1)
            if last == len(columns) - 1 and columns[first:].all():
                words.append(f"the last {len(columns) - first} of {len(columns):,} columns in every row")
            elif columns[first : last + 1].all():
                words.append(f"columns {first} to {last} in every row")
        elif rows.any() and (bad == rows[:, None]).all():
            listed = ", ".join(map(str, np.flatnonzero(rows)[:5]))
            words.append(f"whole rows: {listed}" + (" …" if rows.sum() > 5 else ""))
    finite = bad & np.isfinite(answer) & (expected != 0)
    if not words and finite.sum() > 1:
        ratios = answer[finite] / expected[finite]
        middle = float(np.median(ratios))
        if abs(middle - 1) > 0.01 and middle != 0 and np.all(np.abs(ratios - middle) <= 1e-2 * abs(middle)):
            words.append(f"each {middle:.4g} times what it should be")
    return "; ".join(words)
