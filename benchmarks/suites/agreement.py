"""The emulator beside the GPU: the same .cu on the same inputs, case by case of each written day."""

from __future__ import annotations

from typing import Any

import numpy as np

from grader.checks import load
from grader.curriculum import days
from grader.grade import generator
from grader.models import ModelMissing
from grader.runner import Worker


def ulps(a: np.ndarray, b: np.ndarray) -> int:
    """Largest distance in units in the last place; equal bits are 0, NaN beside a number is as far as it gets."""
    if a.size == 0:
        return 0
    kinds: dict[int, type[np.signedinteger[Any]]] = {2: np.int16, 4: np.int32}
    kind = kinds[a.itemsize]
    x, y = (v.view(kind).astype(np.int64) for v in (a, b))
    lowest = np.int64(np.iinfo(kind).min)
    x, y = np.where(x < 0, lowest - x, x), np.where(y < 0, lowest - y, y)  # order the negative numbers too
    return int(np.abs(x - y).max())


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """Every case, run by the solution on both devices."""
    rows = []
    for day in (d for d in days() if d.written):
        checks = load(day.number)
        with Worker("cuda") as gpu, Worker("cpu") as cpu:
            for worker in (gpu, cpu):
                answer = worker.load(day.solution)
                if answer["outcome"] != "ok":
                    raise AssertionError(f"{day.name} does not load: {answer}")
            for case in checks.cases:
                try:
                    args = case.make(generator(0, case.name))
                except ModelMissing as missing:
                    rows.append({"day": day.number, "case": case.name, "not_run": str(missing)})
                    continue
                results = []
                for worker in (gpu, cpu):
                    answer = worker.call(checks.function, args)
                    if answer["outcome"] != "ok":
                        raise AssertionError(f"{day.name}, {case.name}: {answer}")
                    results.append(answer["result"])
                error = np.abs(results[0].astype(np.float64) - results[1].astype(np.float64))
                allowed = checks.budget(*args) * np.abs(checks.oracle(*args)) + np.finfo(np.float32).tiny
                rows.append(
                    {
                        "day": day.number,
                        "case": case.name,
                        "elements": int(results[0].size),
                        "different": int((results[0] != results[1]).sum()),
                        "ulps": ulps(*results),
                        "share_of_budget": float((error / allowed).max()),
                    }
                )
    return {"cases": rows}
