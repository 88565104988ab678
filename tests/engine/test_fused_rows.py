"""Many tokens at once: prompts through tensor cores, and batches of texts, against float64 and the plain loop."""

from __future__ import annotations

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from engine import device
from engine.cache import make_caches
from engine.fused import chain, prefill
from engine.fused.batch import BatchCaches, BatchEngine, TextsCache
from engine.fused.chain import Launch
from engine.fused.engine import NoTokenError
from engine.fused.prefill import Prefill, halves, with_two_parts
from engine.fused.step import turns_of
from engine.fused.weights import FusedLayer, Matrix, dequantized, fuse, quantize_rows
from engine.generate import generate
from engine.sampling import Greedy
from grader import llama
from tests.engine.fused_models import WIDE, error, fields_of, ids_of, make_model, weights_of

ONE_PART = 2e-3  # of keys and values from float16 activations: 2^-11, through layers
TWO_PARTS = 1e-5  # 2^-22, and float32's sums: a part that is lost somewhere makes it ten times as much


def caches_after(model, ids, kind="bfloat16", **more):
    """Caches of a prompt; what is past it is NaN."""
    caches = make_caches(model.config, len(ids) + 3)
    for cache in caches:
        cache.keys[...] = cache.values[...] = np.nan
    Prefill(fuse(model, kind), turns_of(model.frequencies, len(ids)), caches, **more).run(ids)
    return caches


def errors(caches, fields, weights, ids):
    """Of each layer's keys and values, the larger one."""
    trace: dict[str, np.ndarray] = {}
    llama.forward(fields, weights, np.array(ids), trace)
    out = []
    for number, cache in enumerate(caches):
        found = []
        for got, which in ((cache.keys, "k"), (cache.values, "v")):
            rows = device.to_host(got)
            found.append(error(rows[: len(ids)], trace[f"layer {number} {which}"]))
            assert np.isnan(rows[len(ids) :]).all(), "rows past the prompt are left alone"
        out.append(max(found))
    return out


@pytest.mark.parametrize(
    ("name", "tokens"), [("tiny-llama", 1), ("tiny-llama", 77), ("tiny-qwen3", 64), ("heads of 128", 20)]
)
def test_a_prompts_keys_and_values(on, name, tokens):
    model, ids = make_model(name), ids_of(tokens, fields_of(name)["vocab_size"])
    assert max(errors(caches_after(model, ids), fields_of(name), weights_of(name), ids)) < TWO_PARTS


def test_without_time_for_two_parts_the_first_layer_has_them(on, monkeypatch):
    monkeypatch.setattr(prefill, "SECOND_PARTS", 0)
    model, ids = make_model("tiny-llama"), ids_of(40, 259)
    first, *others = errors(caches_after(model, ids), fields_of("tiny-llama"), weights_of("tiny-llama"), ids)
    assert first < TWO_PARTS < max(others) < ONE_PART


def test_how_many_layers_have_two_parts(on_cpu):
    of_llama, none = Matrix(np.broadcast_to(np.uint8(0), 61_000_000), None), Matrix(np.zeros(0), None)
    layer = FusedLayer(of_llama, none, none, none, None, None, None, None)
    weights = SimpleNamespace(layers=(layer,) * 16)
    assert [with_two_parts(weights, rows) for rows in (1, 512, 1024, 2047, 100_000)] == [16, 16, 8, 4, 1]


@pytest.mark.parametrize("tokens", [5, 70])
def test_int8_weights_are_multiplied_as_whole_numbers(on, tokens):
    model, ids = make_model("tiny-llama", **WIDE), ids_of(tokens, 259)
    named = weights_of("tiny-llama", **WIDE)
    for number, layer in enumerate(model.layers):
        for name, weight in layer.items():
            if weight.ndim == 2:
                named[f"model.layers.{number}.{name}"] = device.to_host(dequantized(quantize_rows(weight)))
    caches = caches_after(model, ids, "int8")
    assert max(errors(caches, fields_of("tiny-llama", **WIDE), named, ids)) < TWO_PARTS


def test_a_length_again_and_many_lengths(on):
    """The second time a length is recorded, later it is replayed; lengths that come back after others, too."""
    model = make_model("tiny-llama")
    stream = chain.make_stream()
    with chain.on(stream):
        weights, turns, caches = fuse(model), turns_of(model.frequencies, 600), make_caches(model.config, 600)
        path = Prefill(weights, turns, caches, stream)
        for seed, tokens in enumerate([9, 14, 16, 10, 30, 40, 70, 100, 14, 12, 11, 530, 520]):
            if tokens > 100 and stream is None:
                continue  # in the emulator they take too long
            ids = ids_of(tokens, 259, seed)
            for cache in caches:
                cache.keys[...] = cache.values[...] = np.nan
            path.run(ids)
            device.synchronize()
            got = errors(
                [TextsCache(c.keys[: tokens + 1], c.values[: tokens + 1]) for c in caches],
                fields_of("tiny-llama"),
                weights_of("tiny-llama"),
                ids,
            )
            assert max(got) < TWO_PARTS, f"{tokens} tokens"
        assert len(path._short) == prefill.RECORDED


def test_prompts_of_several_texts(on):
    model = make_model("tiny-llama")
    caches = BatchCaches(model.config, 3, 24)
    caches.keys[...] = caches.values[...] = np.nan
    path = Prefill(fuse(model), turns_of(model.frequencies, 24), caches.layers)
    prompts = {1: ids_of(7, 259, seed=1), 2: ids_of(20, 259, seed=2)}
    for text, ids in prompts.items():
        path.run(ids, text)
    for text, ids in prompts.items():
        views = [TextsCache(of_layer.keys[text], of_layer.values[text]) for of_layer in caches.layers]
        assert max(errors(views, fields_of("tiny-llama"), weights_of("tiny-llama"), ids)) < TWO_PARTS
    assert np.isnan(device.to_host(caches.keys[:, 0])).all()


@pytest.mark.parametrize(("parts", "limit"), [(1, 1e-3), (2, 3e-6)])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "rows"), [(4, 2, 16, 1), (2, 1, 32, 130), (2, 2, 64, 150), (3, 1, 128, 65)]
)
def test_attention(on, heads, kv_heads, head_dim, rows, parts, limit):
    rng = np.random.default_rng(rows)
    q, k, v = (rng.standard_normal((rows, n, head_dim)).astype(np.float32) for n in (heads, kv_heads, kv_heads))
    q *= 2.0 / head_dim**0.5  # some keys matter far more than others

    def apart(x):
        first = x.astype(np.float16)
        return device.to_device(np.stack([first, (x - first).astype(np.float16)][:parts]))

    cut = prefill.cut_of(head_dim, parts)
    defines = {"HEADS": heads, "KV_HEADS": kv_heads, "HEAD_DIM": head_dim, "PART": "__half", "PARTS": parts}
    module = device.load_module("rows/flash_attention.cu", {**defines, "TILES": cut.tiles, "KEYS": cut.keys})
    out = device.xp.zeros((parts, rows, heads, head_dim), np.float16)
    Launch(
        module.get_function("rows_flash_attention"), (heads, -(-rows // cut.queries)), 32 * prefill.ATTENTION_WARPS,
        (apart(q), apart(k), apart(v), out, np.int32(rows)), cut.shared_bytes(head_dim, parts),
    ).run()  # fmt: skip
    k, v = (np.repeat(x.astype(np.float64), heads // kv_heads, axis=1) for x in (k, v))
    scores = np.einsum("qhd,khd->hqk", q.astype(np.float64), k)
    weights = np.where(np.tri(rows, dtype=bool), np.exp2(scores - scores.max(axis=-1, keepdims=True)), 0)
    expected = np.einsum("hqk,khd->qhd", weights / weights.sum(axis=-1, keepdims=True), v)
    assert error(device.to_host(out).astype(np.float64).sum(axis=0), expected) < limit


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
    assert error(device.to_host(caches[1].values)[:9], trace["layer 1 v"]) < TWO_PARTS


def test_halves(on_cpu):
    exact = np.array([[1.5, -3e-4, 2.0**-14, 60000]], ml_dtypes.bfloat16)
    assert (halves(Matrix(exact, None)).values.astype(np.float32) == exact.astype(np.float32)).all()
    whole = np.arange(256, dtype=np.uint8)[None]
    assert (halves(Matrix(whole, np.ones(1))).values == np.arange(-128, 128)).all()
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
    engine._begin(prompts, 1, ())
    with chain.on(engine.stream):
        engine._to_logits()
    device.synchronize()
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
