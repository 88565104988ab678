"""Day 16: one decoder layer: attention and MLP, each on a normed copy of the residual stream, each added back to it."""

from collections.abc import Callable, Mapping
from typing import Any

from engine import device
from engine.config import Config
from engine.ops.arguments import FLOAT32, INT32, check_array
from engine.ops.attend import attend
from engine.ops.linear import linear
from engine.ops.mlp import mlp
from engine.ops.rmsnorm import rmsnorm
from engine.ops.rope import rope

Note = Callable[[str, Any], None]


def ignore(_name: str, _tensor: Any) -> None:
    """Take no note."""


def check_arguments(x: Any, config: Config, positions: Any, frequencies: Any) -> None:
    """Refuse what the layer would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("tokens", config.hidden_size), FLOAT32)
    check_array("positions", positions, (x.shape[0],), INT32)
    check_array("frequencies", frequencies, (config.head_dim // 2,), FLOAT32)


def decoder_layer(
    x: Any,
    weights: Mapping[str, Any],
    config: Config,
    positions: Any,
    frequencies: Any,
    cache: Any = None,
    note: Note = ignore,
) -> Any:
    """One layer of a Llama (with Qwen3's norms of Q and K where the weights have them).

    Args:
        x: [tokens, hidden_size] float32, the residual stream; left as it is.
        weights: by their names within the layer: `input_layernorm.weight`, `self_attn.q_proj.weight`, `…k_proj…`, `…v_proj…`,
            `…o_proj…`, `post_attention_layernorm.weight`, `mlp.gate_proj.weight`, `…up_proj…`, `…down_proj…`; for Qwen3
            `self_attn.q_norm.weight` and `…k_norm…` too. Matrices are bfloat16 [out, in], norms float32.
        config: sizes, and eps of the norms.
        positions: [tokens] int32, of the tokens in the text.
        frequencies: [head_dim / 2] float32, radians a position, from day 11.
        cache: None, or what has `append(k, v)`: it takes this call's [tokens, kv_heads, head_dim] of both and returns all
            so far.
        note: told the name and value of each intermediate tensor: `attention norm`, `q`, `k`, `v` (this call's, q
            and k rotated), `attention`, `after attention`, `mlp norm`, `output`.

    Returns:
        [tokens, hidden_size] float32.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x, config, positions, frequencies)
    raise NotImplementedError("day 16: norm, attention, add; norm, MLP, add")


# ---- for the grading ------------------------------------------------------------------------------------------------


class Past:
    """A cache as the layer knows it: what it was given so far, put together anew at each call."""

    def __init__(self) -> None:
        self.k: Any = None
        self.v: Any = None

    def append(self, k: Any, v: Any) -> tuple[Any, Any]:
        """Keys and values of all tokens so far, these included."""
        self.k = k if self.k is None else device.xp.concatenate([self.k, k])
        self.v = v if self.v is None else device.xp.concatenate([self.v, v])
        return self.k, self.v


def keep_in(trace: dict[str, Any]) -> Note:
    """A `note` that keeps each tensor as it is when it is noted."""

    def note(name: str, tensor: Any) -> None:
        trace[name] = device.xp.array(tensor)

    return note


def traced_layer(
    x: Any, weights: Mapping[str, Any], config: Config, positions: Any, frequencies: Any
) -> dict[str, Any]:
    """The layer's intermediate tensors by name, in the order in which they come, and what it returns."""
    trace: dict[str, Any] = {}
    returned = decoder_layer(x, weights, config, positions, frequencies, note=keep_in(trace))
    return {**trace, "returned": returned}


def continued_layer(
    x: Any, weights: Mapping[str, Any], config: Config, positions: Any, frequencies: Any, first: int
) -> dict[str, Any]:
    """The same of the tokens from `first` on, in a call of their own: a cache has the ones before."""
    trace: dict[str, Any] = {}
    cache = Past()
    for tokens in (slice(first), slice(first, None)):
        returned = decoder_layer(x[tokens], weights, config, positions[tokens], frequencies, cache, keep_in(trace))
    return {**trace, "returned": returned}
