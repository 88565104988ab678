"""Many tokens at once: prompts through tensor cores, and batches of texts, against float64 and the plain loop."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from engine import device
from engine.cache import make_caches
from engine.fused.batch import BatchEngine
from engine.fused.engine import NoTokenError
from engine.fused.prefill import Prefill, halves
from engine.fused.step import turns_of
from engine.fused.weights import Matrix, fuse
from engine.generate import generate
from engine.sampling import Greedy
from grader import llama
from tests.engine.fused_models import error, fields_of, ids_of, make_model, weights_of

FLOAT16_ERROR = 2e-3  # of keys and values from float16 activations: 2^-11, through layers


@pytest.mark.parametrize(
    ("name", "tokens"), [("tiny-llama", 1), ("tiny-llama", 77), ("tiny-qwen3", 64), ("heads of 128", 20)]
)
def test_a_prompts_keys_and_values(on, name, tokens):
    model, ids = make_model(name), ids_of(tokens, fields_of(name)["vocab_size"])
    caches = make_caches(model.config, tokens + 3)
    for cache in caches:
        cache.keys[...] = cache.values[...] = np.nan
    Prefill(fuse(model), turns_of(model.frequencies, tokens), caches).run(ids)
    trace: dict[str, np.ndarray] = {}
    llama.forward(fields_of(name), weights_of(name), np.array(ids), trace)
    for number, cache in enumerate(caches):
        for got, which in ((cache.keys, "k"), (cache.values, "v")):
            rows = device.to_host(got)
            assert error(rows[:tokens], trace[f"layer {number} {which}"]) < FLOAT16_ERROR, f"layer {number} {which}"
            assert np.isnan(rows[tokens:]).all(), "rows past the prompt are left alone"


def test_no_tokens_need_no_launch(on):
    model = make_model("tiny-llama")
    Prefill(fuse(model), turns_of(model.frequencies, 4), make_caches(model.config, 4)).run([])


def test_large_activations_do_not_overflow(on):
    """SwiGLU's numbers go far past float16's largest: rows are divided by powers of two."""
    model, ids = make_model("tiny-llama"), ids_of(9, 259)
    large = weights_of("tiny-llama")
    for name in ("gate", "up"):
        key = f"model.layers.0.mlp.{name}_proj.weight"
        large[key] = (large[key].astype(np.float32) * 256).astype(ml_dtypes.bfloat16)
        model.layers[0][f"mlp.{name}_proj.weight"][...] = device.to_device(large[key])
    caches = make_caches(model.config, 9)
    Prefill(fuse(model), turns_of(model.frequencies, 9), caches).run(ids)
    trace: dict[str, np.ndarray] = {}
    llama.forward(fields_of("tiny-llama"), large, np.array(ids), trace)
    assert np.abs(trace["layer 0 swiglu"]).max() > 65504
    assert error(device.to_host(caches[1].values)[:9], trace["layer 1 v"]) < FLOAT16_ERROR


def test_halves(on_cpu):
    exact = np.array([[1.5, -3e-4, 2.0**-14, 60000]], ml_dtypes.bfloat16)
    assert (halves(Matrix(exact, None)).values.astype(np.float32) == exact.astype(np.float32)).all()
    with pytest.raises(ValueError, match="65,504"):
        halves(Matrix(np.array([[1e5]], ml_dtypes.bfloat16), None))


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3", "seven heads of one"])
def test_each_text_of_a_batch_is_what_it_is_alone(on, name):
    model = make_model(name)
    prompts = [ids_of(n, model.config.vocab_size, seed=n) for n in (3, 1, 11, 6)]
    engine = BatchEngine(model, len(prompts), 40)
    for most in (9, 1000):
        steps = list(engine.generate_batch(prompts, most))
        for text, ids in enumerate(prompts):
            alone = list(generate(model, ids, most, Greedy(), capacity=40))
            assert [step[text] for step in steps if step[text] is not None] == alone, f"text {text}"
        assert len(steps) == max(len(list(generate(model, ids, most, Greedy(), capacity=40))) for ids in prompts)


def test_the_logits_of_a_batch(on):
    """Two bfloat16 parts of each activation: 16 bits."""
    model = make_model("tiny-llama")
    prompts = [ids_of(7, 259, seed=1), ids_of(7, 259, seed=2)]
    engine = BatchEngine(model, 2, 16)
    next(engine.generate_batch(prompts, 1))
    got = device.to_host(engine.logits).reshape(2, 2, -1).sum(axis=0)
    for row, ids in zip(got, prompts, strict=True):
        assert error(row, llama.forward(fields_of("tiny-llama"), weights_of("tiny-llama"), np.array(ids))[-1]) < 5e-5


def test_a_stop_token_ends_one_text_and_not_the_others(on):
    model = make_model("tiny-llama")
    prompts = [ids_of(4, 259, seed=5), ids_of(6, 259, seed=6)]
    engine = BatchEngine(model, 2, 40)
    free = [list(tokens) for tokens in zip(*engine.generate_batch(prompts, 12), strict=True)]
    stop = next(t for t in free[0][2:] if t not in free[0][:2] and t not in free[1])
    steps = list(engine.generate_batch(prompts, 12, [stop]))
    assert [s[0] for s in steps if s[0] is not None] == free[0][: free[0].index(stop)]
    assert [s[1] for s in steps] == free[1]


def test_nan_in_one_text_is_named(on):
    model = make_model("tiny-llama")
    engine = BatchEngine(model, 2, 16)
    model.embedding[7] = np.nan
    with pytest.raises(NoTokenError, match="text 1, token 0"):
        list(engine.generate_batch([[1, 2], [1, 7]], 3))


@pytest.mark.parametrize(
    ("prompts", "words"), [([[1]], "1 texts: expected 2"), ([[1], []], "empty"), ([[1], [300]], "259|300")]
)
def test_what_a_batch_refuses(on_cpu, prompts, words):
    engine = BatchEngine(make_model("tiny-llama"), 2, 16)
    with pytest.raises(ValueError, match=words):
        list(engine.generate_batch(prompts, 3))


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_the_checker_finds_nothing(on_cpu, name):
    """No race, stray access, uninitialised read or divergent barrier in the kernels that go over rows."""
    model = make_model(name)
    weights = fuse(model)
    device.select("cpu", check=True)
    caches = make_caches(model.config, 20)
    Prefill(weights, turns_of(model.frequencies, 20), caches).run(ids_of(18, model.config.vocab_size))
    engine = BatchEngine(model, 2, 8)
    assert len(list(engine.generate_batch([[1, 2, 3], [4]], 2))) == 2
