"""Day 22, sampling: bytes per second beside the machine's read bandwidth, CuPy's functions and PyTorch's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import oracles
from grader.compare import Comparison, exact
from grader.curriculum import find
from grader.worker import Lesson

ROWS = (1, 64)
VOCABULARIES = (49152, 128256)  # of SmolLM2-135M and of Llama 3.2 1B
SETTINGS: Mapping[str, Mapping[str, Any]] = {"all tokens": {}, "top-k 50": {"top_k": 50}, "top-p 0.9": {"top_p": 0.9}}
COPIES_ALIVE = 12  # weights of 8 bytes, and what a sort leaves
SLACK = 1e-3  # of top-p: which token lies at its edge depends on the order of a sum


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape and filter: from logits on the device to tokens on the device."""
    lesson = Lesson(find("day22").solution).module
    shapes = [
        {"rows": rows, "vocabulary": vocabulary, "settings": settings}
        for settings in SETTINGS
        for vocabulary in VOCABULARIES
        for rows in ROWS
    ]
    figures = kernel_peers.measured(context, "read", shapes, memory_needed, functools.partial(measure, lesson))
    common = {"torch": kernel_peers.torch_version(), "dtype": "float32", "threads": lesson.THREADS}
    return {**common, "most_buffers": kernel_peers.MOST_BUFFERS, "shapes": figures}


def memory_needed(rows: int, vocabulary: int, settings: str) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * rows * vocabulary * 4


def measure(
    lesson: Any, rows: int, vocabulary: int, settings: str, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`. An answer is right if the filters leave each of its tokens."""
    generator, moved = kernel_peers.random_numbers(rng), 4 * rows * vocabulary + 4 * rows
    buffers = [
        (3 * generator.standard_normal((rows, vocabulary), np.float32),)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    chosen = SETTINGS[settings]
    sample = kernel_peers.rows_to_check(rows, rng)
    loose = {**chosen, "top_p": min(1.0, chosen.get("top_p", 1.0) + SLACK)}
    kept = oracles.sampling(kernel_peers.host_rows(buffers[0][0], sample), [[]] * len(sample), loose) > 0
    sampler = lesson.Sampler(**chosen)
    calls: dict[str, Callable[..., Any]] = {
        "ours": lambda x: sampler.draw(sampler.weights(x), 0),
        "cupy": functools.partial(cupy_sampling, **chosen),
        "torch": functools.partial(torch_sampling, **chosen),
    }

    def check(answer: np.ndarray, _budgets: float) -> Comparison:
        tokens = answer.reshape(-1).astype(np.int64)
        inside = (tokens >= 0) & (tokens < vocabulary)
        fits = inside & kept[np.arange(len(kept)), np.where(inside, tokens, 0)]
        return exact(fits, np.ones(len(kept), bool))

    return kernel_peers.functions_beside(f"{rows} × {vocabulary}, {settings}", moved, buffers, sample, calls, check)


def cupy_sampling(x: Any, top_k: int = 0, top_p: float = 1.0) -> Any:
    """Filters by a sort; the draw is the largest of logits with Gumbel noise (Gumbel 1954)."""
    import cupy

    if top_k:
        x = cupy.where(x < -cupy.sort(-x, axis=1)[:, top_k - 1 : top_k], -np.inf, x)
    if top_p < 1:
        ordered = -cupy.sort(-x, axis=1)
        powers = cupy.exp(ordered - ordered[:, :1])
        upto = cupy.cumsum(powers, axis=1)
        above = (upto - powers) / upto[:, -1:]
        last = (above < top_p).sum(axis=1, keepdims=True) - 1
        x = cupy.where(x < cupy.take_along_axis(ordered, last, axis=1), -np.inf, x)
    return (x + cupy.random.gumbel(size=x.shape).astype(np.float32)).argmax(axis=1)


def torch_sampling(x: Any, top_k: int = 0, top_p: float = 1.0) -> Any:
    """The same filters as Transformers has them; the draw is that of vLLM: no multinomial, which waits for the device."""
    import torch

    if top_k:
        x = x.masked_fill(x < torch.topk(x, top_k)[0][:, -1:], -torch.inf)
    if top_p < 1:
        ordered, places = torch.sort(x, descending=False)
        removed = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
        removed[:, -1:] = False
        x = x.masked_fill(removed.scatter(1, places, removed), -torch.inf)
    p = x.softmax(-1)
    return p.div_(torch.empty_like(p).exponential_(1)).argmax(1)
