"""A model's weights as the fused kernels take them: fewer, larger matrices, in bfloat16 or int8."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
        stacked: all layers, one after the other: each array has a first axis more, of layers.
        layers: each of them alone, in the same memory.
        has_qk_norm: whether q and k have norms of their own.
    """

    kind: str
    config: Config
    embedding: Any
    stacked: FusedLayer
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


def apart(stacked: FusedLayer, count: int) -> tuple[FusedLayer, ...]:
    """Each layer of a stack, in the same memory."""

    def one(array: Any, number: int) -> Any:
        return Matrix(*(part[number] for part in array)) if isinstance(array, Matrix) else array[number]

    names = [field.name for field in dataclasses.fields(FusedLayer)]
    return tuple(FusedLayer(**{name: one(getattr(stacked, name), number) for name in names}) for number in range(count))


def fuse(model: Model, kind: str = "bfloat16") -> FusedWeights:
    """A model's weights for the fused kernels.

    The output matrix, where it stays as it is, is not copied.

    Args:
        kind: `bfloat16`, or `int8` to quantize each matrix, the output matrix too.

    Raises:
        ValueError: see `check_sizes`.
    """
    check_sizes(model.config, kind)
    xp, layers = device.xp, model.layers

    def quantized(values: Any) -> Matrix:
        return quantize_rows(values) if kind == "int8" else Matrix(values, xp.zeros(1, np.float32))

    def stacked(of_layer: Callable[[Any], Any]) -> Matrix:
        first = quantized(of_layer(layers[0]))
        values = xp.empty((len(layers), *first.values.shape), first.values.dtype)
        scales = xp.empty((len(layers), *first.scales.shape), np.float32)
        for number, layer in enumerate(layers):
            one = quantized(of_layer(layer)) if number else first
            values[number], scales[number] = one.values, one.scales
        return Matrix(values, scales)

    def norms(name: str) -> Any:
        if name not in layers[0]:
            return xp.zeros((len(layers), 1), np.float32)
        return xp.stack([layer[name] for layer in layers])

    def bits(layer: Any, name: str) -> Any:  # moving 16 bits about needs no arithmetic
        return layer[f"{name}_proj.weight"].view(np.uint16)

    def qkv(layer: Any) -> Any:
        return xp.concatenate([bits(layer, f"self_attn.{name}") for name in "qkv"]).view(ELEMENT)

    def gate_up(layer: Any) -> Any:
        pairs = xp.stack([bits(layer, "mlp.gate"), bits(layer, "mlp.up")], axis=1)
        return pairs.reshape(-1, pairs.shape[-1]).view(ELEMENT)

    # Vectors of 16 bytes are loaded. An array of somebody else's may begin anywhere.
    head = model.head
    address = head.ctypes.data if isinstance(head, np.ndarray) else head.data.ptr
    of_layers = FusedLayer(
        qkv=stacked(qkv),
        output=stacked(lambda layer: layer["self_attn.o_proj.weight"]),
        gate_up=stacked(gate_up),
        down=stacked(lambda layer: layer["mlp.down_proj.weight"]),
        input_norm=norms("input_layernorm.weight"),
        post_norm=norms("post_attention_layernorm.weight"),
        q_norm=norms("self_attn.q_norm.weight"),
        k_norm=norms("self_attn.k_norm.weight"),
    )
    return FusedWeights(
        kind=kind,
        config=model.config,
        embedding=model.embedding,
        stacked=of_layers,
        layers=apart(of_layers, len(layers)),
        norm=model.norm,
        head=quantized(head if head.flags.c_contiguous and address % 16 == 0 else xp.array(head, order="C")),
        has_qk_norm="self_attn.q_norm.weight" in layers[0],
    )
