"""How far a correct answer may lie from the exact one: derived from the arithmetic, never tuned.

The unit roundoff u of a format with p significant bits is 2^-p: no rounding changes a number by more than u of itself. A sum
of n terms rounds about n times; in the worst case the errors add up to n·u, but they have both signs, and then λ·√n·u bounds
them with a probability that λ makes as close to 1 as you like (Higham and Mary, "A new approach to probabilistic rounding
error analysis", 2019, theorem 2.4: λ = 6 fails once in more than ten million).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grader import oracles, work_oracles
from grader.spec import DTYPES, Allowed

SIGNIFICANT_BITS = {DTYPES["float32"]: 24, DTYPES["float16"]: 11, DTYPES["bfloat16"]: 8}
LAMBDA = 6.0
FLOAT64_ROUNDOFF = 2.0**-53  # Python's float


def unit_roundoff(dtype: np.dtype) -> float:
    """2^-p: the largest relative error of one rounding to that dtype."""
    return 2.0 ** -SIGNIFICANT_BITS[np.dtype(dtype)]


def sum_error(terms: int, accumulator: str = "float32") -> float:
    """Error of a sum of so many terms, of the inputs or their products, in any order: relative to the sum of their sizes."""
    return LAMBDA * math.sqrt(terms) * unit_roundoff(DTYPES[accumulator])


def rmsnorm(x: np.ndarray, weight: np.ndarray, eps: float) -> float:
    """Half the sum's error (a root halves it), six more float32 operations, and the rounding of the result.

    The six: the division, adding eps, the reciprocal root (2 ulp: CUDA C++ programming guide, appendix on mathematical
    functions), and two multiplications.
    """
    arithmetic = 0.5 * sum_error(x.shape[1]) + 6 * unit_roundoff(DTYPES["float32"])
    rounding = 0.0 if x.dtype == DTYPES["float32"] else unit_roundoff(x.dtype)
    return arithmetic + rounding


def product(x: np.ndarray, weight: np.ndarray) -> Allowed:
    """The error of a sum of n products for each element, relative to the sum of the products' sizes.

    A product of a float32 and a bfloat16 number has up to 32 significant bits: it is rounded once, alone or in the addition
    that takes it in. Where the products have both signs, the result can be far smaller than the sum of their sizes.
    """
    with np.errstate(invalid="ignore"):
        sizes = np.abs(x.astype(np.float64)) @ np.abs(weight.astype(np.float64)).T
    return Allowed(0.0, sum_error(x.shape[-1]) * sizes)


def tensor_core_product(x: np.ndarray, weight: np.ndarray) -> Allowed:
    """The error of a sum of n products on tensor cores, relative to the sum of the products' sizes.

    Products of two bfloat16 numbers are exact in float32. But tensor cores cut off where others round (Fasi, Higham, Mikaitis
    and Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021): a term to the last place of the sum that takes it in, and
    that sum once more. Each is less than 2^-23 of the sum, and errors that all point the same way add up: 2 n 2^-23.
    """
    with np.errstate(invalid="ignore"):
        sizes = np.abs(x.astype(np.float64)) @ np.abs(weight.astype(np.float64)).T
    return Allowed(0.0, 4 * x.shape[-1] * unit_roundoff(DTYPES["float32"]) * sizes)


def row_sum(x: np.ndarray) -> Allowed:
    """The error of the longest way that a term takes to the result.

    A term is rounded in each addition that it goes through: at most ⌈n / 256⌉ in its thread, 5 between the lanes of a warp
    and 8 between the warps. So each carries a relative error like that of a sum of so many terms, and the result one that is
    relative to the sum of the terms' sizes: where they have both signs, it can be many times the result.
    """
    additions = -(-x.shape[1] // 256) + 5 + 8
    return Allowed(0.0, sum_error(additions) * np.abs(x.astype(np.float64)).sum(axis=1))


def row_max(x: np.ndarray) -> Allowed:
    """One of the elements, unchanged: nothing rounds."""
    return Allowed(0.0)


def softmax(x: np.ndarray) -> Allowed:
    """What rounding does to exp(d) / (sum of exp(d)), where d is x minus the largest of its row.

    The subtraction rounds d by up to |d|·u, which changes exp(d) by as much of itself; expf lies within 2 ulp of the rounded
    value, which is 5 u (CUDA C++ programming guide, appendix on mathematical functions). The sum carries the errors of its
    terms, each by its share of it, and its own; a reciprocal and a multiplication are two roundings more.
    """
    u = unit_roundoff(DTYPES["float32"])
    exact = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        below = np.abs(exact - exact.max(axis=1, keepdims=True))  # |d|
        powers = np.exp(-below)
        shares = powers / powers.sum(axis=1, keepdims=True)
        each = np.where(shares > 0, below, 0.0) * u + 5 * u
        of_sum = (shares * each).sum(axis=1, keepdims=True) + sum_error(x.shape[1])
        return Allowed(0.0, np.nan_to_num(shares * (each + of_sum + 2 * u), nan=0.0))


def inverse_frequencies(head_dim: int, theta: float, scaling: Mapping[str, Any] | None = None) -> Allowed:
    """Twice what float32 leaves of theta^-e, e = 2i / head_dim, and of the blend: Transformers' own table is float32 too.

    Rounding e changes theta^e by up to e·ln(theta)·u of itself; a power in the host's library lies within 2 ulp, 4 u; the
    reciprocal is one rounding more. With `llama3`, the number of turns t is the context times that over 2π, so it carries
    three roundings more (2π, division, multiplication), and the blend s = (t - low) / (high - low) is off by t times that over
    high - low and by the rounding of two subtractions and a division. A change of s moves the result between f and
    f / factor; four more operations make it.
    """
    u = unit_roundoff(DTYPES["float32"])
    exponents = np.arange(0, head_dim, 2) / head_dim
    exact = float(theta) ** -exponents
    bound = exact * (exponents * math.log(theta) + 5) * u
    if scaling is not None and scaling["rope_type"] == "llama3":
        factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = np.clip(scaling["original_max_position_embeddings"] * exact / (2 * math.pi), low, high)
        blend = (turns - low) / (high - low)
        off = turns * (bound / exact + 3 * u) / (high - low) + 3 * u * blend
        kept = blend + (1 - blend) / factor
        bound = bound * kept + exact * (off * (1 - 1 / factor) + 4 * u * kept)
    return Allowed(0.0, 2 * bound)


def rope(x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray) -> Allowed:
    """How far a pair of length r may be off: r·(|angle| + 8)·u, along the circle and across it.

    The float32 product position · frequency is rounded by up to |angle|·u, which turns the pair by as much. sincosf lies within
    2 ulp of the rounded values (CUDA C++ programming guide, appendix on mathematical functions), 2.5 u each: over both numbers
    of a pair that is at most 2.5·√2·r·u. The two products and their sum round by up to r·u each. That makes 6; Transformers'
    tables, float32 as well, are within 1 ulp, and get 2 of their own.
    """
    u = unit_roundoff(DTYPES["float32"])
    first, second = np.split(x.astype(np.float64), 2, axis=2)
    angles = np.abs(positions.astype(np.float64)[:, None, None] * frequencies.astype(np.float64))
    with np.errstate(invalid="ignore"):
        bound = np.nan_to_num(np.hypot(first, second), nan=0.0, posinf=0.0) * (angles + 8) * u
    return Allowed(0.0, np.concatenate([bound, bound], axis=2))


# Relative, in u: 5 for expf, which lies within 2 ulp of the rounded value; 1 each for the sum, the quotient, the product.
SWIGLU_ROUNDINGS = 8.0


def swiglu(gate: np.ndarray, up: np.ndarray) -> Allowed:
    """Eight roundings; and where exp(-gate) is no float32, or its reciprocal none, the factor may be 0.

    That begins at gates of -ln(2^126) = -87.3, where the reciprocal is below the smallest normal number and a GPU may flush it
    to zero. |silu| is less than 89 · 2^-126 there.
    """
    u = unit_roundoff(DTYPES["float32"])
    with np.errstate(invalid="ignore"):
        return Allowed(SWIGLU_ROUNDINGS * u, 89 * 2.0**-126 * np.nan_to_num(np.abs(up.astype(np.float64))))


def mlp(x: np.ndarray, w_gate: np.ndarray, w_up: np.ndarray, w_down: np.ndarray) -> Allowed:
    """The errors of both first products, through silu and the gating, through the last product, and its own.

    silu's slope is at most 1.1, so an error e of the gate changes the gated number by up to 1.1·e·|up|, and one of up by
    e·|silu|. The gated numbers' errors are independent of each other, so in the last product's sums they add up like their
    squares: each is a bound in the sense of `sum_error`, with the same λ.
    """
    gate, up = (x.astype(np.float64) @ weight.astype(np.float64).T for weight in (w_gate, w_up))
    off_gate, off_up = product(x, w_gate).absolute, product(x, w_up).absolute
    silu = gate / (1 + np.exp(-gate))
    arithmetic = SWIGLU_ROUNDINGS * unit_roundoff(DTYPES["float32"]) * np.abs(silu * up)
    off_gated = 1.1 * off_gate * (np.abs(up) + off_up) + np.abs(silu) * off_up + arithmetic
    through = np.sqrt(off_gated**2 @ (w_down.astype(np.float64) ** 2).T)
    return Allowed(0.0, through + product(silu * up, w_down).absolute)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Allowed:
    """What errors in the scores, the exponentials and the weighted sum come to, for each element.

    With s the exact scores, p = softmax(s) and o = Σ p·v, in order:

    - A score is a sum of head_dim products, times the scale: its error is at most sum_error(head_dim) + 6 u of
      |scale| Σ |q·k|. The six: rounding 1/√head_dim (a reciprocal root may be 2 ulp off, that is 4 u), two multiplications.
    - Subtracting the largest score rounds to u of the difference; a kernel that works with powers of two rounds once more.
      What the largest score itself is off by drops out: all weights change by the same factor.
    - An absolute error e of the exponent changes the exponential by the factor exp(e), which no division takes back; the
      exponential itself is 2 ulp off (CUDA C++ programming guide, appendix on mathematical functions), that is 4 u.
    - So each weight is off by a factor 1 ± f. Their sum stays 1, so the result is off by at most Σ p·f·|v - o|.
    - The weighted sum and the sum of the weights round: sum_error(keys) of Σ p·|v| and of |o|. Two more for the division
      (or a reciprocal and a multiplication).
    """
    u = unit_roundoff(DTYPES["float32"])
    tokens, heads, head_dim = q.shape
    before, group = len(k) - tokens, heads // k.shape[1]
    scale = 1 / math.sqrt(head_dim)
    exact_q = q.astype(np.float64)
    exact_k, exact_v = (np.repeat(array.astype(np.float64), group, axis=1) for array in (k, v))
    bound = np.zeros(q.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        for i in range(tokens):
            keys, values = exact_k[: before + i + 1], exact_v[: before + i + 1]
            scores = scale * np.einsum("hd,jhd->jh", exact_q[i], keys)
            sizes = scale * np.einsum("hd,jhd->jh", np.abs(exact_q[i]), np.abs(keys))
            below = scores - scores.max(axis=0)
            weights = np.exp(below)
            weights /= weights.sum(axis=0)
            off = np.expm1((sum_error(head_dim) + 6 * u) * sizes + 2 * u * np.abs(below) + 4 * u)
            result = np.einsum("jh,jhd->hd", weights, values)
            bound[i] = np.einsum("jh,jhd->hd", weights * off, np.abs(values - result))
            bound[i] += sum_error(len(keys)) * (np.einsum("jh,jhd->hd", weights, np.abs(values)) + np.abs(result))
            bound[i] += 2 * u * np.abs(result)
    return Allowed(0.0, bound)


def sampling(logits: np.ndarray, history: Sequence[Sequence[int]], settings: Mapping[str, Any]) -> Allowed:
    """How far a token's probability may be off; nothing for one that is filtered.

    Penalty and temperature round once each: a logit x is off by up to 2·|x|·u, and so is the largest. Their difference d is
    rounded by |d|·u, and expf adds 5·u. That is relative, of a weight; their sum is off by the average of it. A weight is cut
    off to a multiple of 2^-40 of the largest.
    """
    u = unit_roundoff(DTYPES["float32"])
    exact = oracles.sampling(logits, history, settings)
    x = oracles.scaled_logits(logits, history, settings)
    with np.errstate(invalid="ignore"):
        largest = x.max(axis=1, keepdims=True)
        off = (2 * np.abs(x) + 2 * np.abs(largest) + np.abs(x - largest) + 5) * u
    off = np.where(exact > 0, off, 0.0)
    average = (exact * off).sum(axis=1, keepdims=True)
    cut = 2.0**-40 * (1 + logits.shape[1] * exact)
    return Allowed(0.0, np.where(exact > 0, exact * (off + average) + cut, 0.0))


OFTEN = 20.0  # χ² of counts is distributed as of normal numbers where this many are expected


def chi_squared(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """How far counts are from what is expected, over the tokens that should come often."""
    expected = counts.sum() * probabilities
    often = expected >= OFTEN
    return float(((counts - expected)[often] ** 2 / expected[often]).sum())


def drawn(probabilities: np.ndarray, draws: int) -> Allowed:
    """How large χ² may be, and how far each count may be off, before chance is no explanation: 1 case in 5 million.

    χ² with m degrees of freedom exceeds m·(1 - h + z·√h)³ with h = 2/(9·m) as often as a normal number exceeds z (Wilson and
    Hilferty 1931): for z = 5.2 with probability 1e-7. Only tokens that should come often are in it.

    A count is off by more than L/3 + √(L²/9 + 2·n·p·(1 - p)·L) with probability 2·e^-L at most (Bernstein's inequality): for
    all together 1e-7. A token of probability 0 may not come.

    Returns:
        For [1 + tokens] numbers: χ², then the counts.
    """
    freedom = max(1, int((draws * probabilities >= OFTEN).sum()))
    h = 2 / (9 * freedom)
    log = math.log(2 * int((probabilities > 0).sum()) / 1e-7)
    spread = log / 3 + np.sqrt(log**2 / 9 + 2 * draws * probabilities * (1 - probabilities) * log)
    largest = freedom * (1 - h + 5.2 * math.sqrt(h)) ** 3
    return Allowed(0.0, np.concatenate([[largest], np.where(probabilities > 0, spread, 0.0)]))


LOGITS_OFF = 1e-4  # relative, of a whole model's logits: both sides are float32, so a few thousand roundings apart


def greedy_margin(logit_norm: float, vocabulary: int) -> float:
    """How far apart the two best logits may be so that rounding may still decide which is larger.

    In each of two computations each of the two logits is off by `LOGITS_OFF` of the logits' root mean square.

    Args:
        logit_norm: Euclidean, of one position's logits.
    """
    return 4 * LOGITS_OFF * logit_norm / math.sqrt(vocabulary)


# Times what NumPy's float32 leaves. 4: BLAS adds up in about 16 partial sums, each of n/16 terms, where a kernel may have
# one: the error of a sum grows with the root of its terms. 2: exp, sin and cos are allowed 2 ulp on a GPU, NumPy's have 1.
# 2: the largest of one sample of errors beside the largest of another.
COMPOSED = 4.0 * 2.0 * 2.0


def roofline(
    listed: Sequence[tuple[str, int, int, int]], machine: Sequence[float], seconds: Sequence[float]
) -> Allowed:
    """Intensity, floor, share and time lost of kernels, in Python's floats.

    Each is a few divisions and products, however they are ordered: at most four roundings. The time lost is a difference: its
    roundings are relative to what is subtracted.
    """
    absolute = np.zeros((len(listed), 4))
    floors = work_oracles.figures(listed, machine, seconds)[:, 1]
    absolute[:, 3] = [one[1] * (s + floor) for one, s, floor in zip(listed, seconds, floors, strict=True)]
    return Allowed(4 * FLOAT64_ROUNDOFF, 4 * FLOAT64_ROUNDOFF * absolute)


def float32_noise(rounded: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> dict[str, Allowed]:
    """For tensors at the end of many operations: from the rounding that the same formulas suffer in NumPy's float32.

    A bound for each operation, multiplied through a layer, would allow thousands of times too much. The measured error of
    another correct float32 computation, on the same numbers, follows each tensor's own conditioning.

    Args:
        rounded: the tensors, computed in float32.
        exact: the same in float64.

    Returns:
        For each tensor: 16 times the largest of these errors, for every element, and 16 roundings of its own size for the large
        ones.
    """
    out = {}
    for name, value in exact.items():
        error = np.abs(rounded[name].astype(np.float64) - value)
        out[name] = Allowed(COMPOSED * unit_roundoff(DTYPES["float32"]), COMPOSED * float(error.max(initial=0.0)))
    return out
