"""Many tokens at once through a model: a prompt's, or one of each text of a batch. Matrix products run on tensor cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from engine import cublas, device
from engine.config import Config
from engine.fused.chain import Launch
from engine.fused.weights import FusedLayer

WARPS = 8  # of a block that goes over a row
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16 = np.dtype(np.float16)
NAMES = {BFLOAT16: "__nv_bfloat16", FLOAT16: "__half"}  # in CUDA


def product(parts: Any, weight: Any, out: Any) -> None:
    """`out = parts @ weight.T`: by cuBLAS, for which NumPy stands in on the CPU.

    Args:
        parts: [rows, in] bfloat16 or float16, on the device.
        weight: [out, in], alike.
        out: [rows, out] float32; so are all sums.
    """
    if device.name() == "cuda":
        cublas.product_into(parts, weight, out)
    else:
        np.matmul(parts.astype(np.float32), weight.astype(np.float32).T, out=out)


class RowLayers:
    """The layers of a model for a fixed number of rows: its kernels, and the memory between them.

    The activations of a product are taken apart into 16-bit numbers (kernels/rows/parts.cuh).

    Args:
        config: of the model.
        rows: tokens at once.
        dtype: of a part, and of the weights: bfloat16 or float16.
        parts: 1 or 2.
        defines: more of what the attention kernels are compiled for.

    Attributes:
        hidden: [rows, hidden_size] float32, the residual stream.
        qkv: [parts · rows, (heads + 2 · kv_heads) · head_dim] float32: a product.
        attended: [parts, rows, heads · head_dim]: what attention leaves for the output matrix.
        attended_scale: [rows] float32, by which it was divided.
        added: [parts · rows, hidden_size] float32: the product that the next norm adds to the residual stream.
    """

    def __init__(self, config: Config, rows: int, dtype: np.dtype, parts: int, **defines: int | str) -> None:
        xp = device.xp
        self.config, self.rows, self.parts = config, rows, parts
        heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.defines: dict[str, int | str] = {
            "HIDDEN": config.hidden_size, "INNER": config.intermediate_size, "HEADS": heads, "KV_HEADS": kv_heads,
            "HEAD_DIM": head_dim, "PART": NAMES[np.dtype(dtype)], "PARTS": parts, **defines,
        }  # fmt: skip
        self.hidden = xp.empty((rows, config.hidden_size), np.float32)
        self.qkv = xp.empty((parts * rows, (heads + 2 * kv_heads) * head_dim), np.float32)
        self.attended = xp.empty((parts, rows, heads * head_dim), dtype)
        self.attended_scale = xp.ones(rows, np.float32)
        self._normed = xp.empty((parts, rows, config.hidden_size), dtype)
        self._gate_up = xp.empty((parts * rows, 2 * config.intermediate_size), np.float32)
        self._inner = xp.empty((parts, rows, config.intermediate_size), dtype)
        self._inner_scale = xp.ones(rows, np.float32)
        self.added = xp.empty((parts * rows, config.hidden_size), np.float32)
        self.epsilon = np.float32(config.rms_norm_eps)
        self._kernels: dict[str, Any] = {}

    def kernel(self, name: str, source: str, **more: int | str) -> Any:
        """A kernel of kernels/, compiled for this model."""
        if name not in self._kernels:
            self._kernels[name] = device.load_module(source, {**self.defines, **more}).get_function(name)
        return self._kernels[name]

    def launch(self, name: str, grid: Sequence[int], arguments: Sequence[Any]) -> None:
        """Launch a kernel of kernels/rows/ that goes over rows."""
        kernel = self.kernel(f"rows_{name}", f"rows/{name}.cu", WARPS=WARPS)
        Launch(kernel, tuple(grid), 32 * WARPS, tuple(arguments)).run()

    def norm(self, gain: Any, scale: Any, adds: bool) -> Any:
        """Add the last product to the residual stream, where there is one, and normalise.

        Args:
            gain: [hidden_size] float32.
            scale: [rows] float32, by which the product's input was divided.
            adds: whether there is a product.

        Returns:
            [parts · rows, hidden_size].
        """
        arguments = (self.hidden, self.added, scale, gain, self._normed, self.epsilon, np.int32(adds))
        self.launch("norm_parts", (self.rows,), arguments)
        return self._normed.reshape(-1, self.config.hidden_size)

    def layer(self, layer: FusedLayer, number: int, attend: Callable[[int, FusedLayer], None]) -> None:
        """One layer.

        Args:
            number: 0 for the first.
            attend: is told the layer's number and its norms; from `qkv` it fills `attended` and `attended_scale`.
        """
        x = self.norm(layer.input_norm, self._inner_scale, adds=number > 0)
        product(x, layer.qkv.values, self.qkv)
        attend(number, layer)
        product(self.attended.reshape(-1, self.attended.shape[-1]), layer.output.values, self.added)
        x = self.norm(layer.post_norm, self.attended_scale, adds=True)
        product(x, layer.gate_up.values, self._gate_up)
        self.launch("swiglu_parts", (self.rows,), (self._gate_up, self._inner, self._inner_scale))
        product(self._inner.reshape(-1, self._inner.shape[-1]), layer.down.values, self.added)

    def final_norm(self, gain: Any) -> Any:
        """After the last layer: [parts · rows, hidden_size], the input of the output matrix."""
        return self.norm(gain, self._inner_scale, adds=True)
