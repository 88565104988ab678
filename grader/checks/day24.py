"""Day 24, the roofline: bytes and operations to the last one, ceilings, what bounds a kernel, where most time is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, work_oracles
from grader.goldens import tiny
from grader.spec import BadInput, Case, DayChecks, LlamaConfig, Task

Make = Callable[[np.random.Generator], Sequence[Any]]

# What these models' config.json say of sizes.
SMOLLM2_135M = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}  # fmt: skip
LLAMA_3_2_1B = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
    "max_position_embeddings": 131072, "tie_word_embeddings": True,
}  # fmt: skip
QWEN3_0_6B = {
    "architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "max_position_embeddings": 40960, "tie_word_embeddings": True,
}  # fmt: skip


# ---- the work of one launch ------------------------------------------------------------------------------------------


def given(*values: int) -> Make:
    """These arguments."""
    return lambda _rng: values


def sizes(*most: int) -> Make:
    """Random sizes, each at least 2 and below that."""
    return lambda rng: tuple(int(rng.integers(2, limit)) for limit in most)


def even_heads(rng: np.random.Generator) -> Sequence[int]:
    """Tokens, heads, and an even number of columns."""
    tokens, heads, half = sizes(100, 40, 129)(rng)
    return tokens, heads, 2 * half


def grouped(rng: np.random.Generator) -> Sequence[int]:
    """Some tokens behind others, and groups of heads."""
    tokens, before, kv_heads, group, head_dim = sizes(200, 300, 9, 6, 129)(rng)
    return tokens, tokens + before, kv_heads * group, kv_heads, head_dim


WORK = [
    Task(
        function="norm",
        oracle=work_oracles.norm,
        cases=[Case("a norm of 1 row", given(1, 576)), Case("a norm of several rows", sizes(50, 5000))],
    ),
    Task(
        function="product",
        oracle=work_oracles.product,
        cases=[
            Case("a product of 1 token", given(1, 1536, 576, 2)),
            Case("a product of several tokens", lambda rng: (*sizes(500, 5000, 4000)(rng), 2)),
            Case("a product with weights of 1 byte", lambda rng: (*sizes(500, 5000, 4000)(rng), 1)),
        ],
    ),
    Task(
        function="rotation",
        oracle=work_oracles.rotation,
        cases=[Case("a rotation of 1 token", given(1, 9, 64)), Case("a rotation of several tokens", even_heads)],
    ),
    Task(
        function="attention",
        oracle=work_oracles.attention,
        cases=[
            Case("attention of 1 token over itself", given(1, 1, 3, 3, 64)),
            Case("attention of 1 token over 33", given(1, 33, 9, 3, 64)),
            Case("attention of a prompt of 2", given(2, 2, 4, 4, 8)),
            Case("attention of a prompt of 33", given(33, 33, 9, 3, 64)),
            Case("attention of tokens behind others", grouped),
        ],
    ),
]


# ---- a pass --------------------------------------------------------------------------------------------------------------


def a_pass(fields: dict[str, Any], tokens: int, length: int, weight_bytes: int = 2) -> Make:
    """A pass through a model of these sizes."""
    return lambda _rng: (LlamaConfig(fields), tokens, length, weight_bytes)


def any_model(rng: np.random.Generator) -> Sequence[Any]:
    """Sizes that no model has: each is another number, so that one in another's place shows."""
    hidden, inner, layers, kv_heads, group, half, vocabulary = sizes(200, 400, 9, 6, 5, 20, 900)(rng)
    fields = {
        "architectures": [str(rng.choice(["LlamaForCausalLM", "Qwen3ForCausalLM"]))], "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": kv_heads * group,
        "num_key_value_heads": kv_heads, "head_dim": 2 * half, "vocab_size": vocabulary,
        "max_position_embeddings": 1000, "tie_word_embeddings": bool(rng.integers(2)),
    }  # fmt: skip
    tokens, before = sizes(50, 100)(rng)
    return LlamaConfig(fields), tokens, tokens + before, int(rng.choice([1, 2, 4]))


def changed(**changes: Any) -> Make:
    """A pass that must be refused: a good one, after a change."""
    good = {"tokens": 4, "length": 20, "weight_bytes": 2} | changes
    return lambda _rng: (LlamaConfig(tiny.LLAMA), *good.values())


PASS = Task(
    function="kernels",
    oracle=work_oracles.kernels,
    cases=[
        Case("tiny Llama: the first token", a_pass(tiny.LLAMA, 1, 1)),
        Case("tiny Llama: a step at 40 tokens", a_pass(tiny.LLAMA, 1, 40)),
        Case("tiny Llama: a prompt of 9", a_pass(tiny.LLAMA, 9, 9)),
        Case("tiny Llama: 5 tokens behind 20", a_pass(tiny.LLAMA, 5, 25)),
        Case("tiny Qwen3: a step at 40 tokens", a_pass(tiny.QWEN3, 1, 40)),
        Case("tiny Qwen3: a prompt of 9, weights of 1 byte", a_pass(tiny.QWEN3, 9, 9, 1)),
        Case("tiny Llama: the longest prompt, weights of 4 bytes", a_pass(tiny.LLAMA, 512, 512, 4)),
        Case("any model", any_model),
        Case("SmolLM2-135M: a step at 256 tokens", a_pass(SMOLLM2_135M, 1, 256)),
        Case("Llama 3.2 1B: a step at 131,072 tokens", a_pass(LLAMA_3_2_1B, 1, 131072)),
        Case("Qwen3 0.6B: a prompt of 512", a_pass(QWEN3_0_6B, 512, 512)),
        Case("Llama 3.2 1B: a prompt of 2,048", a_pass(LLAMA_3_2_1B, 2048, 2048), count_costs=True),
    ],
    bad_input=[
        BadInput("no tokens", changed(tokens=0), "tokens"),
        BadInput("more tokens than the cache has", changed(tokens=21), "tokens"),
        BadInput("half a token", changed(tokens=0.5), "tokens"),
        BadInput("a text longer than the context", changed(length=513), ("length", "512")),
        BadInput("weights of 3 bytes", changed(weight_bytes=3), "weight_bytes"),
    ],
    cost_limits={"host bytes": 16.0},
)


# ---- under the roof ------------------------------------------------------------------------------------------------------

EXACT = (1024.0, 4096.0)  # a machine of powers of two, on which floors are exact: its ridge is 4


def machines(rng: np.random.Generator) -> Sequence[Any]:
    """Some machines: bytes and operations a second."""
    return ([(float(rng.uniform(1e9, 1e13)), float(rng.uniform(1e10, 1e15))) for _ in range(9)],)


RIDGE = Task(
    function="ridges",
    oracle=work_oracles.ridges,
    budget=lambda _machines: 4 * budget.FLOAT64_ROUNDOFF,
    dtype=lambda *_: np.dtype(np.float64),
    cases=[Case("ridges of machines", machines), Case("a ridge of 4", lambda _rng: ([EXACT],))],
    bad_input=[
        BadInput("a machine without bandwidth", lambda _rng: ([(0.0, 1e12)],), "bytes_per_s"),
        BadInput("a machine of NaN operations", lambda _rng: ([(1e12, float("nan"))],), "operations_per_s"),
    ],
)


def measured(count: int) -> Make:
    """Kernels on both sides of the ridge, some without operations, at times that reach 5 to 95 % of a ceiling."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        machine = float(rng.uniform(1e11, 1e13)), float(rng.uniform(1e13, 1e15))
        listed, seconds = [], []
        for number in range(count):
            moved = int(rng.integers(1 << 10, 1 << 30))
            intensity = 0.0 if number % 4 == 3 else machine[1] / machine[0] * 10 ** rng.uniform(-2, 2)
            listed.append((f"kernel {number}", int(rng.integers(1, 60)), moved, int(moved * intensity)))
            floor = max(moved / machine[0], int(moved * intensity) / machine[1])
            seconds.append(float(floor / rng.uniform(0.05, 0.95)))
        return listed, machine, seconds

    return make


def at_the_ridge(_rng: np.random.Generator) -> Sequence[Any]:
    """One byte or operation below, at and above the intensity at which both take the same time."""
    work = [("below", 64, 255), ("at", 64, 256), ("above", 64, 257), ("a byte more", 65, 256), ("copy", 64, 0)]
    return [(name, 2, size, operations) for name, size, operations in work], EXACT, [0.25] * len(work)


def below_the_floor(_rng: np.random.Generator) -> Sequence[Any]:
    """Times that the machine cannot reach: somewhere there is a mistake, and the figures show it."""
    return [("by bytes", 3, 4096, 4), ("by operations", 3, 4, 8192)], EXACT, [2.0, 1.5]


def bad_time(seconds: Any) -> Make:
    """A time that none is."""
    return lambda _rng: ([("kernel", 1, 64, 64)], EXACT, [seconds])


FIGURES = Task(
    function="figures",
    oracle=work_oracles.figures,
    budget=budget.roofline,
    dtype=lambda *_: np.dtype(np.float64),
    cases=[
        Case("figures of 12 kernels", measured(12)),
        Case("figures around the ridge", at_the_ridge),
        Case("figures below the floor", below_the_floor),
    ],
    bad_input=[
        BadInput("a time of 0", bad_time(0.0), "seconds"),
        BadInput("a time of NaN", bad_time(float("nan")), "seconds"),
        BadInput("a negative time", bad_time(-1e-6), "seconds"),
    ],
)

BOUNDS = Task(
    function="bounds",
    oracle=work_oracles.bounds,
    cases=[Case("bounds of 12 kernels", measured(12)), Case("bounds around the ridge", at_the_ridge)],
)


def worst_of(most: int, make: Make) -> Make:
    """The bottlenecks of these."""
    return lambda rng: (*make(rng), most)


def losing(*lost: float, launches: Sequence[int] = ()) -> Make:
    """Kernels that lose so many seconds at each launch; their floor is 1 second, their names are in no order."""
    times = [(name, n, 1024, 0) for name, n in zip("fbdhaceg", launches or [1] * len(lost), strict=False)]
    return lambda _rng: (times, EXACT, [1.0 + one for one in lost])


WORST = Task(
    function="worst",
    oracle=work_oracles.worst,
    cases=[
        Case("the worst 3 of 12", worst_of(3, measured(12))),
        Case("the worst one of 12", worst_of(1, measured(12))),
        Case("many launches of a little", worst_of(3, losing(4, 0.5, 1, 2, launches=[1, 16, 2, 1]))),
        Case("a long time, nearly all of it floor", worst_of(3, losing(0.25, 2**-10, 0.5, 1, launches=[1, 100, 1, 1]))),
        Case("4 that lose the same", worst_of(3, losing(1, 1, 1, 1))),
        Case("2 that share the third place", worst_of(3, losing(0.5, 2, 1, 0.25, 0.5))),
        Case("2 that lose anything", worst_of(3, losing(0, 0.5, -0.25, 0, 0.25))),
        Case("none loses anything", worst_of(3, losing(0, -0.5))),
        Case("no kernels", worst_of(3, lambda _rng: ([], EXACT, []))),
    ],
    bad_input=[BadInput("the worst none", worst_of(0, losing(1)), "most")],
)

CHECKS = DayChecks([*WORK, PASS, RIDGE, FIGURES, BOUNDS, WORST])
