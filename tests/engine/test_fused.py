"""The fast engine: its steps give the model's logits, however the work is cut, and it writes what the plain loop writes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engine import device, hub
from engine.cache import make_caches
from engine.fused import chain, cutting
from engine.fused.engine import FusedEngine
from engine.fused.persistent import PersistentStep
from engine.fused.step import DecodeStep, Origin
from engine.fused.weights import dequantized, fuse, quantize_rows
from engine.generate import generate
from engine.model import load
from engine.ops.forward import forward
from engine.sampling import Greedy, Sampler
from grader import goldens, llama
from grader.checks.day21 import certain
from tests.engine.fused_models import CONFIGS, WIDE, error, fields_of, ids_of, make_model, weights_of

REAL = "smollm2-135m"


def stepwise(engine: FusedEngine, ids: list[int]) -> np.ndarray:
    return np.concatenate([device.to_host(logits).copy() for logits in engine.stepwise(ids)])


@pytest.mark.parametrize("name", CONFIGS)
def test_every_steps_logits(on, name):
    ids = ids_of(37, fields_of(name)["vocab_size"])
    expected = llama.forward(fields_of(name), weights_of(name), np.array(ids))
    got = stepwise(FusedEngine(make_model(name), 64), ids)
    assert got.shape == expected.shape
    for row, (mine, right) in enumerate(zip(got, expected, strict=True)):
        assert error(mine, right) < 1e-5, f"position {row}"


def test_int8_is_the_dequantized_model(on):
    model = make_model("tiny-llama", **WIDE)
    weights: dict[str, np.ndarray] = {}
    for name, matrix in weights_of("tiny-llama", **WIDE).items():
        rounded = matrix.astype(np.float64)
        if matrix.ndim == 2 and "embed" not in name:
            rounded = device.to_host(dequantized(quantize_rows(device.to_device(matrix)))).astype(np.float64)
            assert 1e-4 < error(rounded, matrix.astype(np.float64)) < 2e-2
        weights[name] = rounded
    ids = ids_of(20, 259)
    expected = llama.forward(fields_of("tiny-llama", **WIDE), weights, np.array(ids))
    assert error(stepwise(FusedEngine(model, 64, "int8"), ids), expected) < 1e-5


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_the_cut_does_not_matter(on, kind):
    """Blocks, warps, rows side by side, depth of the ring, slices of the text: the same logits but for the order of sums."""
    model = make_model("tiny-llama", **WIDE)
    weights = fuse(model, kind)
    ids = ids_of(11, 259)
    seen = []
    for grid, warps, span, depth, splits in [
        (1, 1, 1, 1, 1),
        (3, 2, 1, 3, 2),
        (5, 4, 2, 2, 3),
        (2, 3, 2, 5, 5),
        (7, 8, 4, 2, 16),
    ]:
        caches = make_caches(model.config, 16)
        cuts = {}
        for name, (rows, columns) in {
            "qkv": (192, 96), "output": (96, 128), "gate_up": (416, 96), "down": (96, 208), "head": (259, 96),
        }.items():  # fmt: skip
            wide = 1 if name == "head" else max(span, 2 if name == "gate_up" else 1)
            made = cutting.make_cut(rows, columns, kind, grid, warps=warps, span=wide, depth=depth)
            cuts[name] = made
        step = DecodeStep(weights, model.frequencies, caches, splits=splits, cuts=cuts)
        step.begin(0, len(ids) + 1, ())
        launches = [step.next_token(Origin.GIVEN), *step.to_logits()]
        for token in ids:
            step.chosen[...] = token
            chain.run_all(launches)
        seen.append(device.to_host(step.logits).astype(np.float64))
    for one in seen[1:]:
        assert error(one, seen[0]) < 2e-6


@pytest.mark.parametrize(
    ("name", "prompt", "capacity"), [("tiny-llama", 1, 64), ("tiny-llama", 23, 64), ("tiny-qwen3", 9, 40)]
)
def test_it_writes_what_the_plain_loop_writes(on, name, prompt, capacity):
    model = make_model(name)
    ids = ids_of(prompt, model.config.vocab_size)
    engine = FusedEngine(model, capacity)
    for most in (0, 1, 7, 1000):
        assert list(engine.generate(ids, most)) == list(generate(model, ids, most, Greedy(), capacity=capacity)), most


@pytest.mark.parametrize("strategy", [None, Sampler(temperature=0.8, seed=4)], ids=["greedy", "sampled"])
def test_steps_as_one_kernel(on, monkeypatch, strategy):
    """Where a sweep has found the persistent kernel faster."""
    monkeypatch.setattr(cutting, "as_one_kernel", lambda config, kind: {"LEAST_POSITIONS": 8})
    model = make_model("tiny-llama")
    ids = ids_of(20, model.config.vocab_size)
    engine = FusedEngine(model, 40)
    assert isinstance(engine.step, PersistentStep)
    expected = list(generate(model, ids, 9, strategy or Greedy(), capacity=40))
    assert list(engine.generate(ids, 9, strategy)) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.8, "top_k": 20, "repetition_penalty": 1.1, "seed": 4},
        {"temperature": 1.2, "top_p": 0.9, "min_p": 0.01, "seed": 5},  # drawn ahead of the host
        {"temperature": 0.0},
    ],
)
def test_sampled_tokens_are_the_plain_loops(on, settings):
    model = make_model("tiny-llama")
    ids, strategy = ids_of(5, 259), Sampler(**settings)
    expected = list(generate(model, ids, 12, strategy))
    assert list(FusedEngine(model, 64).generate(ids, 12, strategy)) == expected
    assert len(set(expected)) > 3


def test_stop_tokens_end_the_text_and_the_engine_goes_on_with_another(on):
    model = make_model("tiny-llama")
    engine = FusedEngine(model, 64)
    ids = ids_of(6, 259)
    free = list(engine.generate(ids, 20))
    stop = next(t for t in free[3:] if t not in free[:3])
    assert list(engine.generate(ids, 20, stop_tokens={stop, 258})) == free[: free.index(stop)]
    many = [t for t in range(259) if t not in free[:5]]  # more than the device looks for
    assert list(engine.generate(ids, 20, stop_tokens=many)) == list(itertools.takewhile(lambda t: t not in many, free))
    assert list(engine.generate(ids, 20)) == free


def test_a_conversation_that_goes_on_is_not_computed_again(on_cpu):
    model = make_model("tiny-llama")
    engine, ids = FusedEngine(model, 128), ids_of(30, 259)
    said = list(engine.generate(ids, 6))
    for more in (ids_of(2, 259, seed=8), ids_of(20, 259, seed=9)):  # by single steps, and together
        longer = [*ids, *said, *more]
        assert engine.prefill(longer) >= len(ids) + len(said) - 1
        assert list(engine.generate(longer, 6)) == list(generate(model, longer, 6, Greedy()))
    other = [*ids[:7], 258, *ids[8:]]
    assert list(engine.generate(other, 6)) == list(generate(model, other, 6, Greedy()))
    assert engine.prefill([258, 1, 2]) == 0
    assert engine.prefill([258, 1, 2]) == 2
    engine.forget()
    assert engine.prefill([258, 1, 2]) == 0


def test_a_text_is_ended_by_the_next(on):
    engine = FusedEngine(make_model("tiny-llama"), 64)
    first = engine.generate(ids_of(4, 259), 10)
    next(first)
    second = list(engine.generate(ids_of(5, 259), 3))
    assert len(second) == 3
    with pytest.raises(RuntimeError, match="another text was begun"):
        next(first)


def test_a_text_that_is_not_read_to_its_end_leaves_nothing_behind(on):
    model = make_model("tiny-llama")
    engine, ids = FusedEngine(model, 64), ids_of(4, 259)
    whole = list(engine.generate(ids, 12))
    tokens = engine.generate(ids, 12)
    assert [next(tokens), next(tokens)] == whole[:2]
    tokens.close()
    assert list(engine.generate(ids, 12)) == whole


@pytest.mark.parametrize("strategy", [None, Sampler(seed=1)])
def test_a_model_that_computes_nan_has_no_token(on, strategy):
    model = make_model("tiny-llama")
    engine = FusedEngine(model, 64)
    tokens = engine.generate([1, 2], 9, strategy)
    assert 0 <= next(tokens) < 259
    engine.step.weights.norm[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        list(tokens)
    with pytest.raises(ValueError, match="NaN"):
        list(engine.generate([1, 2], 3, strategy))


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"hidden_size": 100}, "bfloat16", "hidden_size is 100: .* multiples of 8 for bfloat16"),
        ({"intermediate_size": 200}, "int8", "intermediate_size is 200: .* multiples of 16 for int8"),
        ({"head_dim": 24}, "bfloat16", "head_dim is 24: .* one of 4, 8, 16"),
        ({}, "int4", "weights is 'int4': expected one of bfloat16, int8"),
    ],
)
def test_what_the_kernels_cannot_run_is_refused(on_cpu, changed, kind, words):
    with pytest.raises(ValueError, match=words):
        FusedEngine(make_model("tiny-llama", **changed), 64, kind)


@pytest.mark.parametrize(
    ("name", "kind"), [("tiny-llama", "bfloat16"), ("tiny-qwen3", "bfloat16"), ("tiny-llama", "int8")]
)
def test_the_checker_finds_nothing(on_cpu, name, kind):
    """No race, stray access, uninitialised read or divergent barrier in any kernel of three steps."""
    model = make_model(name, **WIDE)
    ids = ids_of(3, model.config.vocab_size)
    device.select("cpu", check=True)
    caches = make_caches(model.config, 4)
    cuts = {"qkv": cutting.make_cut(192, 96, kind, 2, warps=2, span=2, depth=2)} if name == "tiny-llama" else {}
    step = DecodeStep(fuse(model, kind), model.frequencies, caches, splits=2, cuts=cuts)
    step.begin(0, 10, (5,))
    for token in ids:
        step.chosen[...] = token
        chain.run_all([step.next_token(Origin.GIVEN), *step.to_logits()])
    step.next_token(Origin.LARGEST).run()
    assert step.tokens[0] == int(step.logits.argmax())


def test_quantized_rows():
    rows = np.array([[1, -2, 0.5, 127], [0, 0, 0, 0], [-1e-3, 5e-4, 0, 0]], np.float32).astype("bfloat16")
    got = quantize_rows(rows)
    assert (got.values.astype(int) - 128).tolist() == [[1, -2, 0, 127], [0, 0, 0, 0], [-127, 64, 0, 0]]
    assert got.scales[:2].tolist() == [1, 1]
    half_a_step = got.scales[:, None] / 2
    assert (np.abs(dequantized(got) - rows.astype(np.float32)) <= half_a_step * (1 + 1e-6)).all()


def test_a_cut_keeps_all_multiprocessors_busy():
    """Llama-3.2-1B on 132 of them: no matrix leaves more than a twentieth idle in its rounds."""
    for rows, columns, span in [(3072, 2048, 1), (2048, 2048, 1), (16384, 2048, 2), (2048, 8192, 1), (128256, 2048, 1)]:
        made = cutting.balanced(rows, columns, "bfloat16", 132, span)
        units = rows // made.span
        rounds = -(-units // (132 * made.warps))
        assert units / (rounds * 132 * made.warps) > 0.95
        assert made.depth >= 2
        assert (
            2 * (made.ring_bytes + 4 * columns + 1024) <= 227 << 10
        )  # two kernels side by side, 1 KiB of each is taken
        assert made.grid <= 132


@pytest.fixture(scope="module")
def real_engines():
    """The real model's engines, made once: by device, and whether kernels are chained."""
    return {}


def real_engine(engines: dict, on: str, chained: bool = True) -> FusedEngine:
    folder = hub.find(REAL)
    if folder is None:
        pytest.skip(f"NOT RUN: the model is not here: python -m engine pull {REAL}")
    if (on, chained) not in engines:
        engines[on, chained] = FusedEngine(load(folder), 2304 if on == "cuda" else 128, chained=chained)
    return engines[on, chained]


@pytest.mark.parametrize("prompt", goldens.load(REAL)["prompts"])
def test_the_real_model_writes_what_transformers_writes(on, real_engines, prompt):
    golden = goldens.load(REAL)["prompts"][prompt]
    if on == "cpu" and len(golden["ids"]) > 64:
        pytest.skip("NOT RUN: thousands of tokens take minutes in the emulator")
    engine = real_engine(real_engines, on)
    most = min(certain(golden, engine.config.vocab_size), 8 if on == "cpu" else 1000)
    assert list(engine.generate(golden["ids"], most)) == golden["greedy"][:most]


def test_trained_weights_in_one_kernel(on, real_engines, monkeypatch):
    """Where a few activations are far larger than all others: within what is allowed of logits."""
    golden = goldens.load(REAL)["prompts"]["capital"]
    model, ids = real_engine(real_engines, on).model, golden["ids"]
    monkeypatch.setattr(cutting, "as_one_kernel", lambda config, kind: {})
    engine = FusedEngine(model, 64)
    positions = device.to_device(np.arange(len(ids), dtype=np.int32))
    expected = device.to_host(forward(model, device.to_device(np.array(ids, np.int32)), positions))
    assert error(stepwise(engine, ids), expected) < 1e-4
    assert list(engine.generate(ids, 4)) == golden["greedy"][:4]


@pytest.mark.gpu
@pytest.mark.parametrize("chained", [True, False])
def test_the_real_model_on_a_gpu(real_engines, chained):
    device.select("cuda")
    try:
        engine = real_engine(real_engines, "cuda", chained)
        model, ids = engine.model, ids_of(40, engine.config.vocab_size)
        positions = device.to_device(np.arange(len(ids), dtype=np.int32))
        expected = device.to_host(forward(model, device.to_device(np.array(ids, np.int32)), positions))
        assert error(stepwise(engine, ids), expected) < 1e-5
        for _ in range(3):
            assert list(engine.generate(ids, 100)) == list(generate(model, ids, 100, Greedy()))
    finally:
        device.select("cpu")
