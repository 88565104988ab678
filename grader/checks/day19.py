"""Day 19, the KV cache: contents bit for bit, views instead of copies, and one step at a time equals the whole text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, goldens, llama
from grader.checks.day17 import golden
from grader.goldens import tiny
from grader.spec import Allowed, BadInput, Case, DayChecks, Llama, LlamaConfig, Task

MODEL = "smollm2-135m"
LAST = 1  # token of a stored prompt that goes through the model by itself
Steps = list[tuple[Any, ...]]


def filled(kv_heads: int, head_dim: int, capacity: int, *steps: int | str) -> Callable[..., Sequence[Any]]:
    """A cache's life: 5 appends five tokens, "5" truncates to five, "+5" appends and does not look, "!5" must be refused."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        out: Steps = []
        for step in steps:
            if isinstance(step, str) and step.isdigit():
                out.append(("truncate", int(step)))
                continue
            what = {"+": "silently append", "!": "refuse"}.get(str(step)[0], "append")
            shape = int(str(step).lstrip("+!")), kv_heads, head_dim
            out.append((what, *(rng.standard_normal(shape).astype(np.float32) for _ in "kv")))
        return (capacity, kv_heads, head_dim), out

    return make


def expected_history(sizes: Sequence[int], steps: Steps) -> list[dict[str, Any]]:
    """The same life with arrays that are concatenated."""
    capacity, kv_heads, head_dim = sizes
    held = [np.empty((0, kv_heads, head_dim), np.float32) for _ in "kv"]
    out = []
    for what, *given in steps:
        if what == "truncate":
            held = [array[: given[0]] for array in held]
        elif what != "refuse":
            held = [np.concatenate([old, new]) for old, new in zip(held, given, strict=True)]
        if what != "silently append":
            keys, values = held
            size = 2 * capacity * kv_heads * head_dim * 4
            out.append({"length": len(keys), "bytes": size, "views": True, "keys": keys, "values": values})
    return out


def special(rng: np.random.Generator) -> Sequence[Any]:
    """Every bit pattern is a number's own: NaNs with payloads, infinities, -0, numbers below the normal ones."""
    sizes, steps = filled(2, 5, 8, 3, 2)(rng)
    for _, k, v in steps:
        k.view(np.uint32)[:] = rng.integers(0, 2**32, k.shape, dtype=np.uint32)
        v.view(np.uint32)[:] = rng.choice([0x80000000, 0x7F800000, 0xFFC12345, 0x7F812345, 1], v.shape)
    return sizes, steps


def bad(change: Callable[[np.ndarray, np.ndarray], Sequence[Any]], before: int = 2) -> Callable[..., Sequence[Any]]:
    """An append after another that must be refused."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        sizes, steps = filled(2, 5, 8, before, 3)(rng)
        _, k, v = steps[1]
        return sizes, [steps[0], ("append", *change(k, v))]

    return make


def sizes_only(*sizes: int) -> Callable[..., Sequence[Any]]:
    """A cache that cannot be."""
    return lambda rng: (sizes, [])


HISTORY = Task(
    function="history",
    oracle=expected_history,
    cases=[
        Case("one token, one head of 1", filled(1, 1, 1, 1), sanitize=True),
        Case("a prompt of 5, then 3 tokens", filled(2, 5, 16, 5, 1, 1, 1), sanitize=True),
        Case("3 heads of 64, to the brim", filled(3, 64, 9, 4, 4, 1)),
        *(Case(f"{n} numbers a token", filled(1, n, 7, 3, 1, 2)) for n in (31, 32, 33, 257)),
        Case("8 heads of 128, 40 tokens", filled(8, 128, 40, 33, 1, 6)),
        Case("no tokens at all", filled(2, 8, 4, 0, 2, 0)),
        Case("truncated and written again", filled(2, 16, 24, 12, "7", 3, "0", 1, 5), sanitize=True),
        Case("truncated to where it is", filled(2, 16, 20, 6, "6", 2)),
        Case("too much for it, then enough", filled(2, 16, 10, 8, "!3", 2, "!1", "9", 1)),
        Case("every bit pattern", special),
        Case("200 tokens, then 20 more", filled(4, 64, 220, "+200", *["+1"] * 6, "+13", 1), count_costs=True),
    ],
    bad_input=[
        BadInput("a capacity of 0", sizes_only(0, 2, 8), "capacity"),
        BadInput("heads of 0", sizes_only(4, 2, 0), "head_dim"),
        BadInput("one token too many", bad(lambda k, v: (k, v), before=6), ("capacity", "8")),
        BadInput("keys of fewer heads", bad(lambda k, v: (k[:, :1].copy(), v)), "k"),
        BadInput("values of fewer tokens", bad(lambda k, v: (k, v[1:].copy())), "v"),
        BadInput("values in bfloat16", bad(lambda k, v: (k, v.astype(budget.DTYPES["bfloat16"]))), "v"),
        BadInput("truncated past its end", lambda rng: [(8, 2, 5), [("truncate", 1)]], "length"),
        BadInput("truncated to less than nothing", lambda rng: [(8, 2, 5), [("truncate", -1)]], "length"),
    ],
    cost_limits={"global bytes": 1.25, "launches": 1.0},
)


def expected_sizes(config: LlamaConfig, capacity: int) -> list[dict[str, Any]]:
    """One for each layer; only the first has a token."""
    fields = config.fields
    shape = capacity, fields["num_key_value_heads"], fields["head_dim"]
    one = {"shape": shape, "capacity": capacity, "length": 0, "bytes": 2 * 4 * int(np.prod(shape))}
    return [{**one, "length": int(n == 0)} for n in range(fields["num_hidden_layers"])]


SIZES = Task(
    function="cache_sizes",
    oracle=expected_sizes,
    cases=[
        Case("caches of a tiny Llama", lambda rng: (LlamaConfig(tiny.LLAMA), 40)),
        Case("caches of a tiny Qwen3", lambda rng: (LlamaConfig(tiny.QWEN3), 1)),
    ],
)


def tiny_steps(name: str, prompt: int, tokens: int, spare: int = 0) -> Callable[..., Sequence[Any]]:
    """Random tokens for a tiny model."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        fields = tiny.MODELS[name]
        ids = rng.integers(0, fields["vocab_size"], tokens).astype(np.int32)
        return Llama(fields, tiny.weights(name, int(rng.integers(1000)))), ids, prompt, tokens + spare

    return make


def whole(model: Llama, ids: np.ndarray, *_: Any) -> np.ndarray:
    """The whole text in one pass, in float64."""
    return llama.forward(model.fields, model.weights, ids)


def whole_allowed(model: Llama, ids: np.ndarray, *_: Any) -> Allowed:
    """From what the same formulas leave in float32."""
    rounded = llama.forward(model.fields, model.weights, ids, dtype=np.float32)
    return budget.float32_noise({"logits": rounded}, {"logits": whole(model, ids)})["logits"]


STEPWISE = Task(
    function="stepwise",
    oracle=whole,
    budget=whole_allowed,
    dtype=lambda *_: np.dtype(np.float32),
    cases=[
        Case("tiny Llama, 1 token, then 6", tiny_steps("tiny-llama", 1, 7)),
        Case("tiny Llama, 20 tokens, then 4", tiny_steps("tiny-llama", 20, 24, spare=9)),
        Case("tiny Qwen3, 9 tokens, then 5", tiny_steps("tiny-qwen3", 9, 14)),
    ],
)


def prompt(label: str) -> Callable[..., Sequence[Any]]:
    """A prompt whose logits from Transformers are stored: its last token goes in by itself."""

    def make(_rng: np.random.Generator) -> Sequence[Any]:
        ids = np.array(goldens.load(MODEL)["prompts"][label]["ids"], np.int32)
        return Llama(pulled=MODEL), ids, len(ids) - LAST, len(ids)

    return make


REAL = Task(
    function="stepwise",
    oracle=lambda _model, ids, *_: np.array(golden(ids)["logits"]),
    budget=lambda _model, ids, *_: Allowed(0.0, budget.LOGITS_OFF * golden(ids)["logit_norm"] / np.sqrt(49152)),
    dtype=lambda *_: np.dtype(np.float32),
    compared=lambda args, logits: logits[-1, golden(args[1])["logit_ids"]],
    cases=[Case("SmolLM2-135M: the last token by itself, as Transformers", prompt("capital"))],
)

CHECKS = DayChecks([HISTORY, SIZES, STEPWISE, REAL])
