"""Many tokens at once through a model: a prompt's, or one of each text of a batch. Matrix products run on tensor cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from engine import cublaslt, device
from engine.config import Config
from engine.fused import chain
from engine.fused.chain import Launch
from engine.fused.weights import FusedLayer

WARPS = 8  # of a block that goes over a row
SLICES = 4  # blocks that share a row of the MLP's inside
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
        cublaslt.product_into(parts, weight, out)
    else:
        np.matmul(parts.astype(np.float32), weight.astype(np.float32).T, out=out)


def choose(parts: Any, weights: Sequence[Any], out: Any, until: float) -> None:
    """Find the quickest way for products of one shape: see `engine.cublaslt.choose`. On the CPU there is one way only."""
    if device.name() == "cuda":
        cublaslt.choose(parts, weights, out, until)


@dataclass(frozen=True)
class Added:
    """A product that the next norm adds to the residual stream.

    Attributes:
        parts: of its input, whose products are still apart.
        scale: [rows] float32, by which its input was divided.
        scales: of its weights: see `engine.fused.weights.Matrix`.
    """

    parts: int
    scale: Any
    scales: Any


class RowLayers:
    """The layers of a model for a fixed number of rows: its kernels, and the memory between them.

    The activations of a product are taken apart into 16-bit numbers (kernels/rows/parts.cuh).

    Args:
        config: of the model.
        rows: tokens at once.
        dtype: of a part, and of the weights: bfloat16 or float16.
        parts: 1 or 2, the most that a layer has.
        scaled: whether weights have scales.
        stream: CuPy's, on which all of it runs, where a kernel may start before the product ahead of it has ended; else None.
        defines: more of what the kernels are compiled for.

    Attributes:
        hidden: [rows, hidden_size] float32, the residual stream.
        qkv: [parts · rows, (heads + 2 · kv_heads) · head_dim] float32: a product.
        attended: [parts, rows, heads · head_dim]: what attention leaves for the output matrix.
    """

    def __init__(
        self, config: Config, rows: int, dtype: np.dtype, parts: int, *, scaled: bool = False, stream: Any = None,
        **defines: int | str,
    ) -> None:  # fmt: skip
        xp = device.xp
        self.config, self.rows, self.parts = config, rows, parts
        self._stream = stream if chain.why_not_chained() is None else None
        # Float16 overflows, so a row is divided by a power of two. Where none is, several blocks can share a row.
        needs_scale = np.dtype(dtype) == FLOAT16
        self._slices = 1 if needs_scale else SLICES
        heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.defines: dict[str, int | str] = {
            "HIDDEN": config.hidden_size, "INNER": config.intermediate_size, "HEADS": heads, "KV_HEADS": kv_heads,
            "HEAD_DIM": head_dim, "PART": NAMES[np.dtype(dtype)], "SCALED": int(scaled),
            "NEEDS_SCALE": int(needs_scale), **defines,
        }  # fmt: skip
        self.hidden = xp.empty((rows, config.hidden_size), np.float32)
        self.qkv = xp.empty((parts * rows, (heads + 2 * kv_heads) * head_dim), np.float32)
        self.attended = xp.empty((parts, rows, heads * head_dim), dtype)
        self._normed = xp.empty((parts * rows, config.hidden_size), dtype)
        self._gate_up = xp.empty((parts * rows, 2 * config.intermediate_size), np.float32)
        self._inner = xp.empty((parts * rows, config.intermediate_size), dtype)
        self._inner_scale = xp.ones(rows, np.float32)
        self._product = xp.empty((parts * rows, config.hidden_size), np.float32)
        self._ones = xp.ones(rows, np.float32)
        self._added: Added | None = None
        self.epsilon = np.float32(config.rms_norm_eps)
        self._kernels: dict[Any, Any] = {}

    def kernel(self, name: str, source: str, **more: int | str) -> Any:
        """A kernel of kernels/, compiled for this model."""
        key = (name, *sorted(more.items()))
        if key not in self._kernels:
            self._kernels[key] = device.load_module(source, {**self.defines, **more}).get_function(name)
        return self._kernels[key]

    def launch(
        self, name: str, arguments: Sequence[Any], grid: tuple[int, ...] | None = None, /, **more: int | str
    ) -> None:
        """Launch a kernel of kernels/rows/.

        With a stream it may start before the kernel ahead of it has ended, and waits by itself (kernels/decode/chain.cuh).

        Args:
            grid: blocks; default: one for each row.
        """
        kernel = self.kernel(f"rows_{name}", f"rows/{name}.cu", **{"WARPS": WARPS, **more})
        launch = Launch(kernel, grid or (self.rows,), 32 * int(more.get("WARPS", WARPS)), tuple(arguments))
        chain.run_all([launch], self._stream, chained=True)

    def choose(self, layers: Sequence[FusedLayer], parts: int, until: float) -> None:
        """Find the quickest way for these layers' products; the longest come first. What is between them is written over."""
        rows = parts * self.rows
        for x, name, out in (
            (self._normed, "gate_up", self._gate_up),
            (self._inner, "down", self._product),
            (self._normed, "qkv", self.qkv),
            (self.attended.reshape(self.parts * self.rows, -1), "output", self._product),
        ):
            choose(x[:rows], [getattr(layer, name).values for layer in layers], out[:rows], until)

    def begin(self) -> None:
        """`hidden` is the input of the first layer."""
        self._added = None

    def norm(self, gain: Any, parts: int) -> Any:
        """Add the last product to the residual stream, where there is one, and normalise.

        Args:
            gain: [hidden_size] float32.
            parts: of the result.

        Returns:
            [parts · rows, hidden_size].
        """
        added = self._added or Added(0, self._ones, self._ones)
        arguments = (self.hidden, self._product, added.scale, added.scales, gain, self._normed, self.epsilon)
        self.launch("norm_parts", arguments, PARTS=parts, ADDED=added.parts)
        return self.normed(parts)

    def normed(self, parts: int) -> Any:
        """Where `norm` leaves its result."""
        return self._normed[: parts * self.rows]

    def layer(self, layer: FusedLayer, attend: Callable[[], None], parts: int) -> None:
        """One layer.

        Args:
            attend: fills `attended` from `qkv`.
            parts: that activations are taken apart into.
        """
        rows = parts * self.rows
        product(self.norm(layer.input_norm, parts), layer.qkv.values, self.qkv[:rows])
        attend()
        product(self.attended[:parts].reshape(rows, -1), layer.output.values, self._product[:rows])
        self._added = Added(parts, self._ones, layer.output.scales)
        product(self.norm(layer.post_norm, parts), layer.gate_up.values, self._gate_up[:rows])
        of_swiglu = (self._gate_up, layer.gate_up.scales, self._inner, self._inner_scale)
        self.launch("swiglu_parts", of_swiglu, (self.rows, self._slices), PARTS=parts, SLICES=self._slices)
        product(self._inner[:rows], layer.down.values, self._product[:rows])
        self._added = Added(parts, self._inner_scale, layer.down.scales)
