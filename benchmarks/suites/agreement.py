"""The emulator beside the GPU: the same .cu on the same inputs, case by case of each written day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grader.checks import load
from grader.compare import exact
from grader.curriculum import days
from grader.models import ModelMissing
from grader.runner import Worker
from grader.spec import Allowed, Case, Task, arguments


def ulps(a: np.ndarray, b: np.ndarray) -> int:
    """Largest distance in units in the last place; equal bits are 0, NaN beside a number is as far as it gets."""
    if a.size == 0:
        return 0
    if a.dtype.kind in "iu":  # whole numbers are their own places; the difference of unsigned ones must not wrap around
        return int(np.where(a > b, a - b, b - a).max())
    kinds: dict[int, type[np.signedinteger[Any]]] = {2: np.int16, 4: np.int32}
    kind = kinds[a.itemsize]
    x, y = (v.view(kind).astype(np.int64) for v in (a, b))
    lowest = np.int64(np.iinfo(kind).min)
    x, y = np.where(x < 0, lowest - x, x), np.where(y < 0, lowest - y, y)  # order the negative numbers too
    return int(np.abs(x - y).max())


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """Every case of every day with a kernel, run by the solution on both devices."""
    rows = []
    for day in (d for d in days() if "kernel.cu" in d.files):
        with Worker("cuda") as gpu, Worker("cpu") as cpu:
            for worker in (gpu, cpu):
                answer = worker.load(day.solution)
                if answer["outcome"] != "ok":
                    raise AssertionError(f"{day.name} does not load: {answer}")
            for task in load(day.number).tasks:
                rows += [
                    {"day": day.number, "case": case.name, **_compare(task, case, gpu, cpu)} for case in task.cases
                ]
    return {"cases": rows}


def _compare(task: Task, case: Case, gpu: Worker, cpu: Worker) -> dict[str, Any]:
    """One case on both devices."""
    try:
        args = arguments(case, seed=0)
    except ModelMissing as missing:
        return {"not_run": str(missing)}
    results = []
    for worker in (gpu, cpu):
        answer = worker.call(task.function, args, task.in_place)
        if answer["outcome"] != "ok":
            raise AssertionError(f"{case.name}: {answer}")
        results.append(answer["result"])
    on_gpu, on_cpu = results
    if isinstance(on_gpu, dict):  # named tensors: the last follows from all
        on_gpu, on_cpu = (list(result.values())[-1] for result in results)
    share = 0.0 if exact(on_gpu, on_cpu).right else np.inf
    if not isinstance(on_gpu, np.ndarray):
        return {"elements": 1, "different": int(share > 0), "ulps": 0, "share_of_budget": share}
    if task.budget is not None:
        share = _share(task, args, on_gpu, on_cpu)
    return {
        "elements": int(on_gpu.size),
        "different": int((on_gpu.view(f"u{on_gpu.itemsize}") != on_cpu.view(f"u{on_cpu.itemsize}")).sum()),
        "ulps": ulps(on_gpu, on_cpu),
        "share_of_budget": share,
    }


def _share(task: Task, args: Sequence[Any], on_gpu: np.ndarray, on_cpu: np.ndarray) -> float:
    """The difference between the two devices as a share of what a correct answer may be off."""
    assert task.budget is not None
    budget, right = task.budget(*args), task.oracle(*args)
    if isinstance(budget, Mapping):
        name = list(right)[-1]
        budget, right = budget[name], right[name]
    allowed = budget if isinstance(budget, Allowed) else Allowed(budget)
    on_gpu, on_cpu = (task.compared(args, result) for result in (on_gpu, on_cpu))
    with np.errstate(invalid="ignore"):
        wide = np.maximum(np.abs(right) * allowed.relative + allowed.absolute, np.finfo(np.float32).tiny)
        error = np.abs(on_gpu.astype(np.float64) - on_cpu.astype(np.float64))
        same = (on_gpu == on_cpu) | (np.isnan(on_gpu) & np.isnan(on_cpu))
        return float(np.max(np.where(same, 0.0, error / wide), initial=0.0))
