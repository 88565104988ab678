"""Every engine that is measured: ours, llama.cpp and its files, those in torch."""

from __future__ import annotations

import importlib
import importlib.util
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peer_tables
from benchmarks.peers import gguf_file, llama_cpp, measure, ours, registry
from benchmarks.peers.protocol import NotRun
from engine.model import load
from grader.goldens import tiny
from tests.peers.made import PLAN, VOCAB, make_model


def test_who_is_measured():
    names = [peer.name for peer in registry.PEERS]
    assert len(set(names)) == len(names)
    assert [peer.module for peer in registry.PEERS[: len(registry.OURS)]] == ["ours"] * len(registry.OURS)
    for peer in registry.PEERS:
        assert set(peer.measured) <= {"decode", "first", "batches"}
        assert peer.weights in peer_tables.KINDS
        text = (Path(measure.__file__).parent / f"{peer.module}.py").read_text()
        assert "\ndef prepare(" in text or "\ndef figures(" in text
        assert all(f"{option}: " in text for option in peer.options)


def test_ours_are_the_calls_that_generate_writes_with(on_cpu):
    model = make_model()
    for weights, smaller in (("bfloat16", 1), ("int8", 1.8)):
        one = ours.prepare(model, PLAN, weights)
        assert len(list(one.go_on(PLAN.ids(9, VOCAB), 5))) == 5
        assert (
            one.about["weight_bytes"] < 2 * sum(w.size for layer in model.layers for w in layer.values()) * 2 / smaller
        )
    assert one.read.peak_bytes() is None


def test_engines_for_several_texts_are_made_for_their_number(on_cpu):
    made = []

    class BatchEngine:
        def __init__(self, _model, texts, capacity):
            made.append((texts, capacity))
            self.texts = texts

        def generate_batch(self, prompts, max_tokens):
            yield from ([7] * len(prompts) for _ in range(max_tokens))

    on_cpu.setattr(ours, "BatchEngine", BatchEngine)
    go_on = ours.prepare(make_model(), PLAN, several=True).go_on_all
    for texts in (2, 2, 4):
        assert list(go_on([[1]] * texts, 3)) == [[7] * texts] * 3
    assert made == [(2, 21), (4, 21)]


@pytest.mark.parametrize("rope", [None, {**tiny.LLAMA["rope_scaling"], "original_max_position_embeddings": 8192}])
@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_has_the_models_weights(on_cpu, tmp_path, tied, rope):
    model = make_model(tie_word_embeddings=tied, rope_scaling=rope)
    gguf_file.write(tmp_path / "m.gguf", model, "bf16")
    again = load(tmp_path / "m.gguf")
    for field in (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "head_dim",
        "rope_theta",
        "vocab_size",
        "rope_scaling",
    ):
        assert getattr(again.config, field) == getattr(model.config, field), field
    np.testing.assert_allclose(again.frequencies, model.frequencies, rtol=1e-6)
    for layer, expected in zip(again.layers, model.layers, strict=True):
        for name, weight in expected.items():
            np.testing.assert_array_equal(layer[name].astype(np.float32), weight.astype(np.float32), name)
    np.testing.assert_array_equal(again.head.astype(np.float32), model.head.astype(np.float32))
    assert (again.head is again.embedding) == tied


def test_a_gguf_file_of_8_bits(on_cpu, tmp_path):
    model = make_model(rope_scaling=None)
    gguf_file.write(tmp_path / "m.gguf", model, "q8_0")
    again = load(tmp_path / "m.gguf")
    got, expected = (m.layers[1]["mlp.down_proj.weight"].astype(np.float32) for m in (again, model))
    assert 1e-4 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-2


BENCH = """#!{python}
import json, pathlib, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert pathlib.Path(flags["-m"]).stat().st_size > 1000, flags
prompt, tokens = int(flags["-p"]), int(flags["-n"])
assert (prompt == 0) == (flags.get("-d") == "9")
each = 1e6 * (prompt or 2 * tokens)
if prompt == 16: sys.exit("no room")
print(json.dumps([{{"n_prompt": prompt, "n_gen": tokens, "build_commit": "abc", "samples_ns": [each] * int(flags["-r"])}}]))
"""


def test_llama_cpp_times_itself(on_cpu, tmp_path):
    program = tmp_path / "llama-bench"
    program.write_text(BENCH.format(python=sys.executable))
    program.chmod(stat.S_IRWXU)
    on_cpu.setenv("PATH", str(tmp_path))
    model = make_model(rope_scaling=None)
    figures = llama_cpp.figures(model, PLAN, lambda: True, weights="bf16")
    assert next(figures) == ("about", {"llama_cpp": "abc", "timed_by": "llama-bench"})
    name, decode = next(figures)
    assert (name, decode["tokens_per_s"], decode["token"]["repeats"]) == ("decode", pytest.approx(500), 7)
    name, first = next(figures)
    assert (name, first["prompt_tokens"], first["first"]["median_s"]) == ("first", 4, pytest.approx(4e-3))
    with pytest.raises(RuntimeError, match="status 1 and said no room"):
        next(figures)
    on_cpu.setenv("PATH", str(tmp_path / "elsewhere"))
    with pytest.raises(NotRun, match=r"llama-bench.*is not on the PATH"):
        next(llama_cpp.figures(model, PLAN, lambda: True))


@pytest.mark.goldens
def test_peers_in_torch_write_what_ours_write(on_cpu):
    """In float32 arithmetic's place bfloat16: their texts agree up to ties, and none of theirs is broken."""
    compiled_loop, hugging_face, check = (
        importlib.import_module(f"benchmarks.peers.{name}") for name in ("compiled_loop", "hugging_face", "check")
    )
    model = make_model()
    ids, prompts = PLAN.ids(9, VOCAB), PLAN.prompts(3, VOCAB)
    exact = check.reference(model, "bfloat16")
    tokens: dict[str, list[int]] = {}
    for peer in registry.PEERS:
        module = {"compiled_loop": compiled_loop, "hugging_face": hugging_face}.get(peer.module)
        if module is None:
            continue
        one = module.prepare(model, PLAN, **peer.options)
        tokens[peer.name] = list(one.go_on(ids, 12))
        assert list(one.go_on(ids, 12)) == tokens[peer.name]
        assert len(list(one.go_on(PLAN.ids(4, VOCAB), 1))) == 1
        side_by_side = list(one.go_on_all(prompts, 12))
        assert [list(one.go_on(text, 12)) for text in prompts] == [
            [step[n] for step in side_by_side] for n in range(3)
        ], peer.name
        assert check.against(tokens[peer.name], ids, exact)["equal"] >= (5 if peer.weights == "int8" else 11)
    found = dict(check.figures(model, PLAN, registry.PEERS[:8], {"loop-bfloat16": tokens["loop-bfloat16"]}))
    for name in ("ours-bfloat16", "ours-int8"):
        assert found[name]["error"] < 1e-5
        assert found[name]["equal"] + found[name]["ties"] == 12
    assert found["ours-several"]["texts"] == 2
    assert found["loop-int8"] == {"not_run": "it has no text"}
    assert found["loop-bfloat16"]["equal"] >= 11


@pytest.mark.goldens
def test_the_plain_llama_is_transformers_model(on_cpu):
    """All in float32: the logits of a prompt, and of a step behind it."""
    import torch

    compiled_loop, hugging_face = (
        importlib.import_module(f"benchmarks.peers.{name}") for name in ("compiled_loop", "hugging_face")
    )
    model = make_model()
    theirs = hugging_face.build(
        hugging_face.config_of(model.config), compiled_loop.state(model), torch.float32, "eager"
    )
    ids = torch.tensor([PLAN.ids(9, VOCAB), PLAN.ids(9, VOCAB)[::-1]])
    expected = theirs(ids).logits
    for kind, most in (("bfloat16", 1e-6), ("int8", 5e-2)):
        plain = compiled_loop.Llama(model, kind, 2, 16).float()
        got = [plain.logits(ids[:, :8], torch.arange(8), prompt=True)]
        got.append(plain.logits(ids[:, 8:], torch.tensor([8]), prompt=False))
        for mine, right in zip(got, (expected[:, 7], expected[:, 8]), strict=True):
            error = float((mine - right).norm() / right.norm())
            assert error < most
            assert error > 1e-3 or kind == "bfloat16"
