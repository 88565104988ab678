"""A lesson's answer beside the right one: how far off, where first, and in what pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.spec import Allowed, Task


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


def judge(task: Task, args: Sequence[Any], got: Any, expected: Any) -> Comparison:
    """A result beside the oracle's, as the task wants it compared."""
    if task.budget is None:
        return exact(got, expected)
    budget = task.budget(*args)
    got, problem = part(task, args, got)
    if problem:
        return Comparison(np.nan, problem)
    if isinstance(budget, Mapping):
        return _in_order(got, expected, budget)
    return compare(got, expected, np.dtype(task.dtype(*args)), budget)


def part(task: Task, args: Sequence[Any], got: Any) -> tuple[Any, str]:
    """What of a result is compared; all of it, and what is wrong with it, where it has another shape or is no array."""
    try:
        return task.compared(args, got), ""
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        what = f"shape {got.shape}" if isinstance(got, np.ndarray) else f"the function returned {type(got).__name__}"
        return got, f"{what}: not all that is compared is in it ({error})"


def _in_order(got: Any, expected: Mapping[str, np.ndarray], budget: Mapping[str, Allowed | float]) -> Comparison:
    """Named tensors one after the other, up to the first that differs: what comes after it follows from it."""
    if not isinstance(got, dict):
        return Comparison(np.nan, f"the function returned {type(got).__name__}: expected a dict of arrays")
    worst = 0.0
    for number, (name, wanted) in enumerate(expected.items()):
        if name not in got:
            return Comparison(np.nan, f"`{name}` is missing: it was never noted")
        one = compare(got[name], wanted, np.dtype(np.float32), budget[name])
        if not one.right:
            before = f"{number} of {len(expected)} tensors before it agree" if number else "it is the first of all"
            rows = (("first tensor", f"`{name}`; {before}"), *one.rows)
            return Comparison(one.share, f"`{name}` is wrong: {one.problem}", rows)
        worst = max(worst, one.share)
    return Comparison(worst, "")


def compare(got: Any, expected: np.ndarray, dtype: np.dtype, budget: Allowed | float) -> Comparison:
    """Compare with a float64 reference.

    Args:
        got: the lesson's result, whatever it is.
        expected: float64, the right shape. A NaN in it is a place where NaN is the right answer, and nothing else.
        dtype: that the result must have.
        budget: for each element, and for the whole in the Euclidean norm; a number is a relative error.
    """
    allowed = budget if isinstance(budget, Allowed) else Allowed(budget)
    if not isinstance(got, np.ndarray):
        return Comparison(np.nan, f"the function returned {type(got).__name__}: expected an array")
    if got.shape != expected.shape:
        return Comparison(np.nan, f"shape {got.shape}, expected {expected.shape}")
    if got.dtype != dtype:
        return Comparison(np.nan, f"dtype {got.dtype}, expected {dtype}")
    if expected.size == 0:
        return Comparison(0.0, "")
    answer = got.astype(np.float64)
    # Below the smallest normal number of the dtype, precision ends for everybody.
    floor = float(np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore", over="ignore"):
        bound = allowed.relative * np.abs(expected) + allowed.absolute + floor
        shares = np.abs(answer - expected) / bound
        special = ~np.isfinite(expected)
        as_wanted = (answer == expected) | (np.isnan(answer) & np.isnan(expected))
        shares = np.where(special, np.where(as_wanted, 0.0, np.inf), shares)
        regular = ~special
        norm = (
            float(np.linalg.norm((answer - expected)[regular]) / np.linalg.norm(bound[regular]))
            if regular.any()
            else 0.0
        )
    bad = ~(shares <= 1.0)  # a NaN is bad
    if not bad.any() and norm <= 1.0:
        return Comparison(max(float(shares.max()), norm), "")
    worst = float(np.nanmax(shares)) if np.isfinite(shares).any() else np.nan
    return Comparison(worst, *_explain(answer, expected, shares, bad))


# ---- exact answers ---------------------------------------------------------------------------------------------------


def exact(got: Any, expected: Any) -> Comparison:
    """Compare values that must be equal: nested dicts, lists and plain values; arrays bit for bit."""
    difference = _difference(got, expected, "result")
    if difference is None:
        return Comparison(0.0, "")
    place, wanted, found, how_many = difference
    rows = [("first difference", f"{place}   expected {wanted}   got {found}")]
    if how_many:
        rows.append(("how many", how_many))
    return Comparison(np.nan, f"{place} is not what it should be", tuple(rows))


def _difference(got: Any, expected: Any, place: str) -> tuple[str, str, str, str] | None:
    """Where two values differ first: the place, what was expected there, what came, how many elements differ."""
    if isinstance(got, np.ndarray) and got.shape == () and not isinstance(expected, np.ndarray):
        got = got.item()
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return place, f"a dict of {len(expected)}", _short(got), ""
        for key in expected:
            if key not in got:
                return f"{place}[{key!r}]", _short(expected[key]), "nothing: the key is missing", ""
        for key in got:
            if key not in expected:
                return f"{place}[{key!r}]", "no such key", _short(got[key]), ""
        inner = (_difference(got[k], v, f"{place}[{k!r}]") for k, v in expected.items())
        return next((d for d in inner if d is not None), None)
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple):
            return place, _short(expected), _short(got), ""
        inner = (_difference(g, e, f"{place}[{i}]") for i, (g, e) in enumerate(zip(got, expected, strict=False)))
        first = next((d for d in inner if d is not None), None)
        if first is None and len(got) != len(expected):
            return f"len({place})", str(len(expected)), str(len(got)), ""
        return first
    if isinstance(expected, np.ndarray):
        return _array_difference(got, expected, place)
    if type(got) is not type(expected) or got != expected:
        return _text_difference(got, expected, place) or (place, _short(expected), _short(got), "")
    return None


def _text_difference(got: Any, expected: Any, place: str) -> tuple[str, str, str, str] | None:
    """Where two long texts differ first, with what stands before it; None for anything else."""
    if not (isinstance(got, str) and isinstance(expected, str)) or max(len(got), len(expected)) < 40:
        return None
    right = next(
        (i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b), min(len(got), len(expected))
    )
    start = max(0, right - 10)
    how_many = f"{right:,} of {len(expected):,} characters are right, then they differ"
    return f"{place}[{start}:]", _short(expected[start:]), _short(got[start:]), how_many


def _array_difference(got: Any, expected: np.ndarray, place: str) -> tuple[str, str, str, str] | None:
    if not isinstance(got, np.ndarray):
        return place, f"an array, {expected.dtype}", _short(got), ""
    if got.dtype != expected.dtype:
        return f"{place}.dtype", str(expected.dtype), str(got.dtype), ""
    if got.shape != expected.shape:
        return f"{place}.shape", str(expected.shape), str(got.shape), ""
    if expected.size == 0:
        return None
    width = f"u{expected.dtype.itemsize}"
    a, b = (np.ascontiguousarray(x).reshape(-1).view(width).reshape(x.shape) for x in (got, expected))
    bad = a != b
    if not bad.any():
        return None
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"{place}[{', '.join(map(str, index))}]" if index else place
    words = pattern(bad, _wide(got), _wide(expected))
    how_many = f"{int(bad.sum()):,} of {bad.size:,} elements" + (f"; {words}" if words else "")
    return where, _number(expected[index], b[index]), _number(got[index], a[index]), how_many


def _wide(array: np.ndarray) -> np.ndarray:
    """In float64; a signalling NaN is no reason to warn."""
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64)


def _number(value: Any, bits: Any) -> str:
    """A number, and its bits where they say more than it does."""
    text = f"{float(value):.6g}"
    return f"{text} (bits {int(bits):#x})" if value != value or value == 0 else text


def _short(value: Any, most: int = 60) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}, {value.dtype}"
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def same(a: Any, b: Any, allowed: Allowed | Mapping[str, Allowed]) -> float | None:
    """How far apart two wrong results are, or None where they are not wrong in the same way.

    Args:
        allowed: for arrays, how far apart counts as the same, beside b.
    """
    if isinstance(a, dict) and isinstance(b, dict) and isinstance(allowed, Mapping):
        if a.keys() != b.keys():
            return None
        apart = [same(a[name], b[name], allowed[name]) for name in a if name in allowed]
        return None if None in apart else max((d for d in apart if d is not None), default=0.0)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        assert isinstance(allowed, Allowed)
        if a.shape != b.shape or a.dtype != b.dtype:
            return None
        x, y = _wide(a), _wide(b)
        absolute = allowed.absolute if np.shape(allowed.absolute) in ((), a.shape) else 0.0
        with np.errstate(invalid="ignore", over="ignore"):
            near = np.abs(x - y) <= allowed.relative * np.abs(y) + absolute + 1e-30
            if not (near | (x == y) | (np.isnan(x) & np.isnan(y))).all():
                return None
            return float(np.nanmax(np.abs(x - y), initial=0.0))
    return 0.0 if exact(a, b).right else None


# ---- in words --------------------------------------------------------------------------------------------------------


def _explain(
    answer: np.ndarray, expected: np.ndarray, shares: np.ndarray, bad: np.ndarray
) -> tuple[str, tuple[tuple[str, str], ...]]:
    if not bad.any():
        return "each element is within the budget, but together they are not: their errors point the same way", ()
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    place = ", ".join(map(str, index))
    share = shares[index]
    size = (
        ""
        if not share < 1e6  # a NaN, or nothing is allowed
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
    if bad.ndim == 1 and not bad.all():
        first, last = int(bad.argmax()), int(len(bad) - bad[::-1].argmax() - 1)
        if last > first and bad[first : last + 1].all():
            at_the_end = last == len(bad) - 1
            words.append(f"the last {len(bad) - first:,}" if at_the_end else f"elements {first:,} to {last:,}")
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
