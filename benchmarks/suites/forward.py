"""Whole models beside Hugging Face Transformers: how far from float32 arithmetic is the engine, how far its bfloat16 run?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import models
from engine import device, evaluate

TOKENS = (1, 16, 128, 512)


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """Every model at every prompt length."""
    if (reason := models.why_no_peer()) is not None:
        return {"not_run": reason}
    import torch

    models.exact_float32()
    rows = []
    for name, peer in models.in_transformers():
        if isinstance(peer, str):
            rows.append({"model": name, "not_run": peer})
            continue
        rows += list(_compare(name, peer))
        del peer
        torch.cuda.empty_cache()
    return {**models.versions(), "rows": rows}


def _compare(name: str, peer: Any) -> Iterator[dict[str, Any]]:
    import torch

    ours = models.in_engine(peer)
    rng = np.random.default_rng(models.SEED)
    texts = {n: rng.integers(0, ours.config.vocab_size, n).tolist() for n in TOKENS}
    got = {n: evaluate.logits(ours, ids, all_positions=True).astype(np.float64) for n, ids in texts.items()}
    del ours

    def theirs(ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            answer = peer(torch.tensor([ids], device="cuda")).logits[0].double().cpu().numpy()
        return np.asarray(answer)

    rounded = {n: theirs(ids) for n, ids in texts.items()}
    peer.float()  # the same bfloat16 weights, every activation and sum in float32
    for n, ids in texts.items():
        exact = theirs(ids)
        norm = np.linalg.norm(exact)
        yield {
            "model": name, "tokens": n, "device": device.label(),
            "error": float(np.linalg.norm(got[n] - exact) / norm),
            "error_last_position": float(np.linalg.norm(got[n][-1] - exact[-1]) / np.linalg.norm(exact[-1])),
            "transformers_bfloat16_error": float(np.linalg.norm(rounded[n] - exact) / norm),
            "same_next_tokens": int((got[n].argmax(1) == exact.argmax(1)).sum()),
            "transformers_bfloat16_same_next_tokens": int((rounded[n].argmax(1) == exact.argmax(1)).sum()),
        }  # fmt: skip
