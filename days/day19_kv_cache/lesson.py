"""Day 19: the KV cache: keys and values of all tokens so far, so that no token is computed twice."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import device
from engine.config import Config
from engine.model import Model
from engine.ops.arguments import FLOAT32, check_array
from engine.ops.forward import forward

THREADS = 256  # of a block; the kernel is compiled for this number
MOST = 2**31 - 1  # tokens, and numbers of a token: ints of the kernel


def append_kernel() -> Any:
    """The kernel in kernel.cu."""
    source = device.source_beside(__file__, "cache_append.cu")
    return device.load_module(source, {"THREADS": THREADS}).get_function("cache_append")


def check_count(name: str, value: Any, least: int, most: int) -> None:
    """Refuse what is no whole number in that range.

    Raises:
        ValueError: names it, says what it is and what was expected.
    """
    if not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: expected a whole number from {least} to {most}")


class LayerCache:
    """Keys and values of one layer, for one text.

    Memory is taken once, for `capacity` tokens; a text that grows never moves.

    Args:
        capacity: tokens, at least 1.
        kv_heads: at least 1.
        head_dim: at least 1.

    Attributes:
        keys: [capacity, kv_heads, head_dim] float32, on the device; rows from `length` on mean nothing.
        values: like keys.
        length: tokens that are in it; 0 at first.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """

    def __init__(self, capacity: int, kv_heads: int, head_dim: int) -> None:
        for name, value in (("capacity", capacity), ("kv_heads", kv_heads), ("head_dim", head_dim)):
            check_count(name, value, 1, MOST)
        check_count("kv_heads · head_dim", kv_heads * head_dim, 1, MOST)
        self.capacity, self.length = capacity, 0
        raise NotImplementedError("day 19: take the memory for keys and values")

    @property
    def bytes(self) -> int:
        """Bytes of device memory that it holds, filled or not."""
        raise NotImplementedError("day 19: how much memory is it?")

    def check_append(self, k: Any, v: Any) -> None:
        """Refuse what cannot be appended.

        Raises:
            ValueError: k or v has another shape, dtype or layout, or there is no room: the message names the argument, or
                `capacity`, what it is and what was expected.
        """
        check_array("k", k, ("tokens", *self.keys.shape[1:]), FLOAT32)
        check_array("v", v, k.shape, FLOAT32)
        if self.length + k.shape[0] > self.capacity:
            raise ValueError(
                f"{k.shape[0]} tokens are too many: the cache has {self.length} and a capacity of {self.capacity}"
            )

    def append(self, k: Any, v: Any) -> tuple[Any, Any]:
        """Put new tokens behind those that are there.

        One launch for both; with no tokens there is nothing to launch.

        Args:
            k: [tokens, kv_heads, head_dim] float32, on the device: any number of tokens for which there is room.
            v: like k.

        Returns:
            Keys and values of all tokens so far, [length, kv_heads, head_dim] each: views of the cache, no copies.

        Raises:
            ValueError: see `check_append`; the cache is as it was then.
        """
        self.check_append(k, v)
        raise NotImplementedError("day 19: copy the new rows behind the others, and return views of all")

    def truncate(self, length: int) -> None:
        """Forget all tokens from that one on; the next append goes there. Nothing is copied or cleared.

        Args:
            length: of what stays, from 0 to the length that it has.

        Raises:
            ValueError: names `length`, what it is and what was expected; the cache is as it was then.
        """
        check_count("length", length, 0, self.length)
        raise NotImplementedError("day 19: forget the tokens from there on")


def make_caches(config: Config, capacity: int) -> list[LayerCache]:
    """A cache for each layer of a model, for a text of up to `capacity` tokens.

    Raises:
        ValueError: see `LayerCache`.
    """
    raise NotImplementedError("day 19: a cache for each layer")


# ---- for the grading ------------------------------------------------------------------------------------------------


def history(sizes: Sequence[int], steps: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """What a cache of these sizes holds after each step that asks for it.

    Args:
        steps: ("append", k, v), ("silently append", k, v), which is not looked at afterwards, ("truncate", length), and
            ("refuse", k, v): an append that must fail and change nothing.
    """
    cache = LayerCache(*sizes)
    out = []
    for what, *given in steps:
        if what == "truncate":
            cache.truncate(*given)
            held = cache.keys[: cache.length], cache.values[: cache.length]
        elif what == "refuse":
            with contextlib.suppress(ValueError):
                cache.append(*given)
            held = cache.keys[: cache.length], cache.values[: cache.length]
        else:
            held = cache.append(*given)
        if what != "silently append":
            keys, values = (device.xp.array(array) for array in held)  # copies, as they are now
            views = is_view(held[0], cache.keys) and is_view(held[1], cache.values)
            out.append({"length": cache.length, "bytes": cache.bytes, "views": views, "keys": keys, "values": values})
    return out


def is_view(array: Any, cache: Any) -> bool:
    """Whether an array shows the cache's own memory."""
    return array.size == 0 or bool(device.xp.may_share_memory(array, cache))


def cache_sizes(config: Config, capacity: int) -> list[dict[str, Any]]:
    """What `make_caches` makes; filling one must not fill another."""
    caches = make_caches(config, capacity)
    row = device.xp.ones((1, *caches[0].keys.shape[1:]), np.float32)
    caches[0].append(row, row)
    return [{"shape": c.keys.shape, "capacity": c.capacity, "length": c.length, "bytes": c.bytes} for c in caches]


def stepwise(model: Model, ids: Any, prompt: int, capacity: int) -> Any:
    """Logits of a text through caches: the first `prompt` tokens in one pass, then each token in a pass of its own.

    Args:
        ids: [tokens] int32, on the device.

    Returns:
        [tokens, vocab_size] float32.
    """
    caches = make_caches(model.config, capacity)
    passes = [(0, prompt), *((t, t + 1) for t in range(prompt, len(ids)))]
    rows = []
    for first, end in passes:
        positions = device.to_device(np.arange(first, end, dtype=np.int32))
        rows.append(forward(model, ids[first:end], positions, caches))
    return device.xp.concatenate(rows)
