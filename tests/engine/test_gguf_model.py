"""Conversion of GGUF files, checked against independent arithmetic."""

from __future__ import annotations

import json

import gguf
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from engine import config as configuration
from engine import evaluate, gguf_model, hub, model
from tests.engine.tiny_gguf import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, TOKENS, interleave, make_gguf, stand_ins

pytestmark = pytest.mark.usefixtures("home")


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


def test_a_byte_without_a_token_is_dropped(tmp_path):
    """As Hugging Face's own tokenizer of SmolLM2 does, whose vocabulary lacks some; the unknown token stays out of it."""
    from tokenizers import Tokenizer

    lead = stand_ins("\U00042000")[0]
    make_gguf(tmp_path / "tiny.gguf", bytes_left_out=stand_ins("\x04") + lead)
    folder = hub.pull(str(tmp_path / "tiny.gguf"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("a\x04b").tokens == ["a", "b"]
    assert tokenizer.encode("\x04").ids == []
    assert tokenizer.encode("\U00042000").tokens == list(stand_ins("\U00042000")[1:])
    assert tokenizer.encode("\x05").tokens == [stand_ins("\x05")]
    assert json.loads((folder / "tokenizer_config.json").read_text())["unk_token"] == TOKENS[0]


@pytest.mark.parametrize(("pre", "whole"), [("llama-bpe", True), ("smollm", False), ("gpt-2", False)])
def test_llama_3_takes_a_word_that_is_a_token_as_it_is(tmp_path, pre, whole):
    """Even one to which no merges lead; a part of a word has to be merged. (ggml-org/llama.cpp, pull request 7193)"""
    from tokenizers import Tokenizer

    make_gguf(tmp_path / "tiny.gguf", pre=pre, unmerged=("Ġworld",), add_bos=False)
    tokenizer = Tokenizer.from_file(str(hub.pull(str(tmp_path / "tiny.gguf")) / "tokenizer.json"))
    assert tokenizer.encode("he world").tokens == ["he", *(["Ġworld"] if whole else "Ġworld")]
    assert tokenizer.encode("he worlds").tokens == ["he", *"Ġworlds"]


# As Hugging Face's tokenizer.json of Llama 3 has it, with that model's token and id 128000.
LLAMA_3_POST_PROCESSOR = """{"type": "Sequence", "processors": [
    {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
    {"type": "TemplateProcessing",
     "single": [{"SpecialToken": {"id": "BOS", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
     "pair": [{"SpecialToken": {"id": "BOS", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
              {"SpecialToken": {"id": "BOS", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
     "special_tokens": {"BOS": {"id": "BOS", "ids": [128000], "tokens": ["BOS"]}}}]}"""


@pytest.mark.parametrize(
    ("pre", "add_bos", "added"),
    [
        ("llama-bpe", True, True), ("llama-bpe", False, False), ("smollm", True, True), ("smollm", False, False),
        ("llama-bpe", None, True), ("smollm", None, False), ("gpt-2", None, False),  # as llama.cpp does
    ],
)  # fmt: skip
def test_the_token_that_begins_a_text(tmp_path, pre, add_bos, added):
    from tokenizers import Tokenizer

    make_gguf(tmp_path / "tiny.gguf", pre=pre, add_bos=add_bos)
    folder = hub.pull(str(tmp_path / "tiny.gguf"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bos = [TOKENS[1]] if added else []
    assert tokenizer.encode("hello").tokens == [*bos, "he", "ll", "o"]
    assert tokenizer.encode("").tokens == bos
    assert tokenizer.encode("he", "ll").tokens == [*bos, "he", *bos, "ll"]
    assert tokenizer.encode("hello", add_special_tokens=False).tokens == ["he", "ll", "o"]
    assert tokenizer.decode(tokenizer.encode("hello").ids) == "hello"
    assert json.loads((folder / "tokenizer_config.json").read_text())["add_bos_token"] is added
    expected = LLAMA_3_POST_PROCESSOR.replace("BOS", TOKENS[1]).replace("128000", "1") if added else "null"
    assert json.loads((folder / "tokenizer.json").read_text())["post_processor"] == json.loads(expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "gpt2"}, "general.architecture is 'gpt2': expected 'llama'"),
        ({"leave_out": "blk.1.ffn_up.weight"}, "the first is 'blk.1.ffn_up.weight'"),
        ({"pre": "martian"}, "tokenizer.ggml.pre is 'martian'"),
        ({"pre": "llama-bpe", "bos": None}, "metadata field 'tokenizer.ggml.bos_token_id' is missing"),
        ({"bos": 261}, "tokenizer.ggml.bos_token_id is 261: expected one of the 261 tokens, from 0 on"),
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


def test_qwen3_has_norms_of_heads_and_no_interleaving(tmp_path):
    expected = make_gguf(tmp_path / "tiny.gguf", architecture="qwen3", pre="qwen2")
    opened = gguf_model.GGUFModel(tmp_path / "tiny.gguf")
    got = dict(opened.tensors())
    assert set(got) == set(expected)
    assert all(np.allclose(got[name], values, atol=2e-3) for name, values in expected.items())
    read = configuration.parse(opened.config())
    assert (read.qk_norm, read.head_dim, read.rope_scaling) == (True, HEAD_DIM, None)
    text, _ = opened.tokenizer()
    tokenizer = Tokenizer.from_str(text)
    assert tokenizer.decode(tokenizer.encode("hello 2026").ids) == "hello 2026"
    assert [tokenizer.decode([i]) for i in tokenizer.encode("2026").ids] == list("2026")


def llama3_factors(factor: float) -> np.ndarray:
    """Pair by pair, as Llama 3.1's reference code decides."""
    out = []
    for pair in range(HEAD_DIM // 2):
        wavelength = 2 * np.pi * 50000.0 ** (2 * pair / HEAD_DIM)
        if wavelength < 8192 / 4:
            out.append(1.0)
        elif wavelength > 8192 / 1:
            out.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_rotary_scaling_is_read_back_from_its_factors(tmp_path, factor):
    make_gguf(tmp_path / "tiny.gguf", rope_factors=llama3_factors(factor))
    read = configuration.parse(gguf_model.GGUFModel(tmp_path / "tiny.gguf").config())
    assert read.rope_scaling == configuration.RopeScaling(factor, 1.0, 4.0, 8192)


def test_factors_of_another_kind_are_refused(tmp_path):
    make_gguf(tmp_path / "tiny.gguf", rope_factors=np.linspace(1, 9, HEAD_DIM // 2))
    with pytest.raises(gguf_model.GGUFError, match=r"rope_freqs\.weight"):
        gguf_model.GGUFModel(tmp_path / "tiny.gguf").config()


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_a_gguf_file_runs_as_its_conversion_does(tmp_path, architecture):
    file = tmp_path / "tiny.gguf"
    make_gguf(file, architecture=architecture, tied=False)
    ids = [3, 40, 41, 7]
    direct = evaluate.logits(model.load(file), ids)
    converted = evaluate.logits(model.load(hub.pull(str(file))), ids)
    assert np.array_equal(direct, converted)
    assert np.isfinite(direct).all()
