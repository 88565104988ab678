"""The right answers, in float64, from the definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grader import goldens, llama


def widen(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Dst with src at its start: a bfloat16 is the upper half of a float32's bits."""
    out = dst.copy()
    out[: len(src)] = (src.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return out


def embedding(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A row of the table for each token."""
    return table[ids]


def token_ids(ids: Sequence[int], vocabulary: int) -> np.ndarray:
    """The ids as int32; those that are not in the vocabulary are refused, so they have no answer."""
    assert all(0 <= token < vocabulary for token in ids)
    return np.array(ids, np.int32)


def rmsnorm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """X / √(mean of x² over the row + eps) · weight (Zhang and Sennrich 2019, equation 4, with Llama's eps)."""
    exact = x.astype(np.float64)
    mean_square = (exact * exact).mean(axis=1, keepdims=True)
    return exact / np.sqrt(mean_square + float(np.float32(eps))) * weight.astype(np.float64)


def product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """X times the transposed weight: x is a vector or has a row for each token."""
    with np.errstate(invalid="ignore"):  # infinities of both signs give NaN, which is right
        return x.astype(np.float64) @ weight.astype(np.float64).T


def row_sum(x: np.ndarray) -> np.ndarray:
    """The sum of each row."""
    with np.errstate(invalid="ignore"):  # infinities of both signs give NaN, which is right
        return x.astype(np.float64).sum(axis=1)


def row_max(x: np.ndarray) -> np.ndarray:
    """The largest element of each row; NaN where the row has one (IEEE 754-2019, maximum)."""
    return x.astype(np.float64).max(axis=1)


def largest_indices(logits: np.ndarray) -> np.ndarray:
    """The index of each row's largest number, the lowest of several; -1 for a row with a NaN."""
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1)).astype(np.int32)


def random_bits(seed: int, step: int, rows: int) -> np.ndarray:
    """64 bits of Philox 4x32-10 for counters (step, row, 0, 0) (Salmon, Moraes, Dror and Shaw 2011)."""
    mask = 0xFFFFFFFF
    out = []
    for row in range(rows):
        counter, key = [step, row, 0, 0], [seed & mask, seed >> 32]
        for _ in range(10):
            one, two = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
            counter = [(two >> 32) ^ counter[1] ^ key[0], two & mask, (one >> 32) ^ counter[3] ^ key[1], one & mask]
            key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
        out.append(counter[1] << 32 | counter[0])
    return np.array(out, np.uint64)


def scaled_logits(logits: np.ndarray, history: Sequence[Sequence[int]], settings: Mapping[str, Any]) -> np.ndarray:
    """Logits after the penalty for tokens in the text, as Transformers has it, and after the temperature (0 leaves them)."""
    out = logits.astype(np.float64)
    penalty = settings.get("repetition_penalty", 1.0)
    for row, ids in zip(out, history, strict=True):
        seen = sorted(set(ids))
        row[seen] = np.where(row[seen] < 0, row[seen] * penalty, row[seen] / penalty)
    return np.asarray(out / (settings.get("temperature", 1.0) or 1.0))


def sampling(logits: np.ndarray, history: Sequence[Sequence[int]], settings: Mapping[str, Any]) -> np.ndarray:
    """Probabilities after each filter in Transformers' order; zeros for a row without a distribution.

    Top-k keeps all that equal the last of the k, as Transformers does. Top-p keeps all of equal ones or none; there it is left
    to the order in which a sort puts them.
    """
    out = np.zeros(logits.shape)
    for result, x in zip(out, scaled_logits(logits, history, settings), strict=True):
        if not np.isfinite(x.max()):
            continue
        kept = x >= np.sort(x)[-min(settings.get("top_k", 0) or len(x), len(x))]
        weights = np.exp(x - x.max())
        if (top_p := settings.get("top_p", 1.0)) < 1:
            values, place = np.unique(-x, return_inverse=True)
            mass = np.bincount(place, np.where(kept, weights, 0.0), len(values))
            above = np.concatenate([[0.0], np.cumsum(mass)[:-1]])  # of all larger numbers
            kept &= above[place] < top_p * mass.sum()
        kept &= weights >= settings.get("min_p", 0.0)
        result[:] = np.where(kept, weights, 0.0) / weights[kept].sum()
    return out


def softmax(x: np.ndarray) -> np.ndarray:
    """Exp(x) / (sum of exp(x) over the row), where a row of -inf alone gives zeros; NaN for a row with NaN or +inf."""
    exact = x.astype(np.float64)
    largest = exact.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, which is right
        powers = np.exp(exact - np.where(largest == -np.inf, 0.0, largest))
    total = powers.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(powers, total, out=np.zeros_like(powers), where=total != 0))


def inverse_frequencies(head_dim: int, theta: float, scaling: dict[str, object] | None = None) -> np.ndarray:
    """What Transformers computes, where a golden has it; elsewhere the definition."""
    for table in goldens.load("rope")["tables"].values():
        if (table["head_dim"], table["theta"], table["scaling"]) == (head_dim, theta, scaling):
            return np.array(table["inverse_frequencies"], np.float32).astype(np.float64)
    return llama.inverse_frequencies({"rope_theta": theta, "rope_scaling": scaling}, head_dim)


def rope(x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Each pair turned by position times frequency."""
    with np.errstate(invalid="ignore"):  # NaN and infinities stay in their pairs
        return llama.rope(x.astype(np.float64), positions, frequencies)


def rope_by_table(x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Each pair turned by Transformers' own cosines and sines for these positions and frequencies."""
    stored = goldens.load("rope")
    assert stored["positions"] == positions.tolist()
    table = next(
        t
        for t in stored["tables"].values()
        if np.array_equal(np.array(t["inverse_frequencies"], np.float32), frequencies)
    )
    cos, sin = (np.array(table[name], np.float32).astype(np.float64)[:, None, :] for name in ("cos", "sin"))
    first, second = np.split(x.astype(np.float64), 2, axis=2)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=2)


def swiglu(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Gate / (1 + exp(-gate)) · up (Shazeer 2020, equation 5, with beta 1)."""
    exact = gate.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # 1 / infinity is 0, and -inf / inf NaN, as the formula has it
        return exact / (1 + np.exp(-exact)) * up.astype(np.float64)


def mlp(x: np.ndarray, w_gate: np.ndarray, w_up: np.ndarray, w_down: np.ndarray) -> np.ndarray:
    """Two products, SwiGLU, one product."""
    return product(swiglu(product(x, w_gate), product(x, w_up)), w_down)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Causal attention, one query at a time on the keys that it sees: what lies behind them cannot get in."""
    exact_q, exact_k, exact_v = (array.astype(np.float64) for array in (q, k, v))
    before = len(k) - len(q)
    with np.errstate(invalid="ignore"):  # NaN among the keys gives NaN, which is right
        rows = [
            llama.attention(exact_q[i : i + 1], exact_k[: before + i + 1], exact_v[: before + i + 1])
            for i in range(len(q))
        ]
    return np.concatenate([exact_q[:0], *rows])
