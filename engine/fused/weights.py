"""A model's weights as the fused kernels take them: fewer, larger matrices, in bfloat16 or int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from engine import device
from engine.config import Config
from engine.model import Model
from engine.weights import ELEMENT

KINDS = {"bfloat16": 8, "int8": 16}  # numbers of a 16-byte vector
HEAD_DIMS = (4, 8, 16, 32, 64, 128)  # a key is shared by head_dim / 4 lanes, and a warp by whole keys
BIAS = 128  # is added to an int8, so that it is no less than 0: see kernels/decode/vectors.cuh


class Matrix(NamedTuple):
    """A matrix of a step.

    Attributes:
        values: [rows, columns] bfloat16, or uint8: the int8 number + 128.
        scales: [rows] float32, of a quantized matrix: a weight is its number by its row's scale. Else one number, not read.
    """

    values: Any
    scales: Any


@dataclass(frozen=True)
class FusedLayer:
    """One layer's.

    Attributes:
        qkv: [(heads + 2 · kv_heads) · head_dim, hidden_size]: rows of q, then k, then v.
        output: [hidden_size, heads · head_dim].
        gate_up: [2 · intermediate_size, hidden_size]: each row of gate before the same row of up.
        down: [hidden_size, intermediate_size].
        input_norm, post_norm: [hidden_size] float32.
        q_norm, k_norm: [head_dim] float32 of Qwen3; elsewhere one number, not read.
    """

    qkv: Matrix
    output: Matrix
    gate_up: Matrix
    down: Matrix
    input_norm: Any
    post_norm: Any
    q_norm: Any
    k_norm: Any


@dataclass(frozen=True)
class FusedWeights:
    """A whole model's. The embedding stays bfloat16: a step reads one row of it.

    Attributes:
        kind: of the matrices, `bfloat16` or `int8`.
        has_qk_norm: whether q and k have norms of their own.
    """

    kind: str
    config: Config
    embedding: Any
    layers: tuple[FusedLayer, ...]
    norm: Any
    head: Matrix
    has_qk_norm: bool

    @property
    def bytes_per_token(self) -> int:
        """Bytes of weights that a decode step reads at least: every matrix once, and the norms."""
        norms = [self.norm]
        matrices = [self.head]
        for layer in self.layers:
            matrices += [layer.qkv, layer.output, layer.gate_up, layer.down]
            norms += [layer.input_norm, layer.post_norm] + ([layer.q_norm, layer.k_norm] if self.has_qk_norm else [])
        scales = sum(m.scales.nbytes for m in matrices) if self.kind == "int8" else 0
        return int(sum(m.values.nbytes for m in matrices) + scales + sum(n.nbytes for n in norms))


def quantize_rows(matrix: Any) -> Matrix:
    """Symmetric int8 with one scale for each row (output channel): the largest of a row becomes 127 or -127.

    Args:
        matrix: [rows, columns] bfloat16, on the device.
    """
    xp = device.xp
    values = xp.empty(matrix.shape, np.uint8)
    scales = xp.empty(matrix.shape[0], np.float32)
    some = max(
        1, (1 << 26) // max(1, matrix.shape[1])
    )  # rows at once: float32 copies of a whole output matrix are large
    for first in range(0, matrix.shape[0], some):
        rows = matrix[first : first + some].astype(np.float32)
        scale = xp.abs(rows).max(axis=1) / np.float32(127)
        scale[scale == 0] = 1  # a row of zeros
        values[first : first + some] = (xp.rint(rows / scale[:, None]) + BIAS).astype(np.uint8)
        scales[first : first + some] = scale
    return Matrix(values, scales)


def dequantized(matrix: Matrix) -> Any:
    """[rows, columns] float32: the weights that a quantized matrix stands for."""
    return (matrix.values.astype(np.float32) - BIAS) * matrix.scales[:, None]


def check_sizes(config: Config, kind: str) -> None:
    """Refuse a model that the fused kernels cannot run.

    Raises:
        ValueError: names the field of the model's config, what it is and what was expected.
    """
    if kind not in KINDS:
        raise ValueError(f"weights is {kind!r}: expected one of {', '.join(KINDS)}")
    each = KINDS[kind]
    widths = {
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_attention_heads · head_dim": config.num_attention_heads * config.head_dim,
    }
    for name, width in widths.items():
        if width % each:
            raise ValueError(f"{name} is {width}: the fused kernels take multiples of {each} for {kind} weights")
    if config.head_dim not in HEAD_DIMS:
        known = ", ".join(map(str, HEAD_DIMS))
        raise ValueError(f"head_dim is {config.head_dim}: the fused kernels take one of {known}")


def fuse(model: Model, kind: str = "bfloat16") -> FusedWeights:
    """A model's weights for the fused kernels.

    Matrices that stay as they are, are not copied.

    Args:
        kind: `bfloat16`, or `int8` to quantize each matrix, the output matrix too.

    Raises:
        ValueError: see `check_sizes`.
    """
    check_sizes(model.config, kind)
    xp = device.xp
    unused = xp.zeros(1, np.float32)

    def matrix(values: Any) -> Matrix:
        if kind == "int8":
            return quantize_rows(values)
        # Vectors of 16 bytes are loaded. An array of somebody else's may begin anywhere.
        address = values.ctypes.data if isinstance(values, np.ndarray) else values.data.ptr
        return Matrix(
            values if values.flags.c_contiguous and address % 16 == 0 else xp.array(values, order="C"), unused
        )

    def fused(layer: Any) -> FusedLayer:
        def bits(name: str) -> Any:  # moving 16 bits about needs no arithmetic
            return layer[f"{name}_proj.weight"].view(np.uint16)

        qkv = xp.concatenate([bits(f"self_attn.{name}") for name in "qkv"])
        pairs = xp.stack([bits("mlp.gate"), bits("mlp.up")], axis=1)
        return FusedLayer(
            qkv=matrix(qkv.view(ELEMENT)),
            output=matrix(layer["self_attn.o_proj.weight"]),
            gate_up=matrix(pairs.reshape(-1, pairs.shape[-1]).view(ELEMENT)),
            down=matrix(layer["mlp.down_proj.weight"]),
            input_norm=layer["input_layernorm.weight"],
            post_norm=layer["post_attention_layernorm.weight"],
            q_norm=layer.get("self_attn.q_norm.weight", unused),
            k_norm=layer.get("self_attn.k_norm.weight", unused),
        )

    return FusedWeights(
        kind=kind,
        config=model.config,
        embedding=model.embedding,
        layers=tuple(fused(layer) for layer in model.layers),
        norm=model.norm,
        head=matrix(model.head),
        has_qk_norm="self_attn.q_norm.weight" in model.layers[0],
    )
