"""Day 14, grouped query attention, for prompts and for one token at a time, beside a CuPy expression and PyTorch."""

from __future__ import annotations

from typing import Any

from benchmarks import kernel_peers
from benchmarks.suites.day13 import HEAD_DIM, attention_figures
from grader.curriculum import find
from grader.worker import Lesson

QUERIES_KEYS = ((1, 512), (1, 4096), (1, 32768), (128, 128), (512, 512), (2048, 2048), (4096, 4096))
HEADS = ((9, 3), (32, 8))  # of SmolLM2-135M and of Llama 3.2 1B


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape."""
    lesson = Lesson(find("day14").solution).module
    shapes = [
        {"tokens": tokens, "length": length, "heads": heads, "kv_heads": kv_heads}
        for heads, kv_heads in HEADS
        for tokens, length in QUERIES_KEYS
    ]
    figures = attention_figures(context, lesson.attention, shapes)
    return {"torch": kernel_peers.torch_version(), "head_dim": HEAD_DIM, "threads": lesson.THREADS, "shapes": figures}
