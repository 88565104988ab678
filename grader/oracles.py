"""The right answers, in float64, from the definition."""

from __future__ import annotations

import numpy as np


def rmsnorm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """X / √(mean of x² over the row + eps) · weight (Zhang and Sennrich 2019, equation 4, with Llama's eps)."""
    exact = x.astype(np.float64)
    mean_square = (exact * exact).mean(axis=1, keepdims=True)
    return exact / np.sqrt(mean_square + float(np.float32(eps))) * weight.astype(np.float64)
