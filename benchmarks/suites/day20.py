"""Day 20, one query against the cache, beside day 14's kernel, a CuPy expression and PyTorch."""

from __future__ import annotations

from typing import Any

from benchmarks import kernel_peers
from benchmarks.suites.day13 import HEAD_DIM, attention_figures
from grader.curriculum import find
from grader.worker import Lesson

KEYS = (128, 512, 2048, 4096, 8192)
HEADS = ((9, 3), (32, 8))  # of SmolLM2-135M and of Llama 3.2 1B


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each number of keys."""
    lesson = Lesson(find("day20").solution).module
    before = Lesson(find("day14").solution).module
    shapes = [
        {"tokens": 1, "length": length, "heads": heads, "kv_heads": kv_heads}
        for heads, kv_heads in HEADS
        for length in KEYS
    ]

    def decode(q: Any, k: Any, v: Any) -> Any:
        return lesson.decode_attention(q[0], k, v, len(k))[None]

    figures = attention_figures(context, decode, shapes)
    for shape, others in zip(figures, attention_figures(context, before.attention, shapes), strict=True):
        if "median_s" in others:
            shape["day14"] = {name: value for name, value in others.items() if name not in ("cupy", "torch")}
    return {"torch": kernel_peers.torch_version(), "head_dim": HEAD_DIM, "threads": lesson.THREADS, "shapes": figures}
