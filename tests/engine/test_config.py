"""Hugging Face's config.json: what is read, and what is refused by name."""

from __future__ import annotations

import json

import pytest

from engine import config
from grader.goldens import tiny

LLAMA_3_2_1B = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": True,
    "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009],
}  # fmt: skip


def test_llama_3_2_1b():
    read = config.parse(LLAMA_3_2_1B)
    assert read.rope_scaling == config.RopeScaling(32.0, 1.0, 4.0, 8192)
    assert (read.head_dim, read.qk_norm, read.tie_word_embeddings) == (64, False, True)
    assert read.eos_token_ids == (128001, 128008, 128009)
    assert read.bos_token_id == 128000


def test_newer_files_keep_everything_rotary_in_one_object():
    moved = {k: v for k, v in LLAMA_3_2_1B.items() if k not in ("rope_theta", "rope_scaling")}
    moved["rope_parameters"] = {**LLAMA_3_2_1B["rope_scaling"], "rope_theta": 500000.0}
    assert config.parse(moved) == config.parse(LLAMA_3_2_1B)


def test_qwen3_and_head_dim_of_its_own():
    read = config.parse(tiny.QWEN3)
    assert (read.qk_norm, read.head_dim, read.rope_scaling) == (True, 32, None)


def test_defaults_where_files_are_silent():
    bare = {
        k: v
        for k, v in tiny.LLAMA.items()
        if k not in ("head_dim", "num_key_value_heads", "rope_theta", "rope_scaling")
    }
    read = config.parse(bare)
    assert (read.head_dim, read.num_key_value_heads, read.rope_theta) == (12, 8, 10000.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"architectures": ["GPT2LMHeadModel"]},
            "architectures is 'GPT2LMHeadModel': expected one of LlamaForCausalLM",
        ),
        ({"architectures": None}, "architectures is None"),
        ({"attention_bias": True}, "attention_bias is true"),
        ({"mlp_bias": True}, "mlp_bias is true"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu': expected 'silu'"),
        ({"hidden_size": None}, "hidden_size is missing: expected a positive whole number"),
        ({"hidden_size": "big"}, "hidden_size is 'big'"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"num_key_value_heads": 3}, "num_attention_heads is 8: expected a multiple"),
        ({"head_dim": 15}, "head_dim is 15: expected an even number"),
        ({"head_dim": None, "hidden_size": 97}, "head_dim is missing"),
        ({"rms_norm_eps": -1}, "rms_norm_eps is -1"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type is 'yarn': expected one of default, llama3"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor is missing"),
        ({"rope_scaling": [1]}, "rope_scaling is [1]: expected an object"),
        ({"eos_token_id": "two"}, "eos_token_id is 'two'"),
        ({"use_sliding_window": True}, "sliding windows are not supported"),
    ],
)
def test_refused_by_name(change, words):
    with pytest.raises(config.ConfigError) as refused:
        config.parse({**tiny.LLAMA, **change}, "folder/config.json")
    assert words in str(refused.value)
    assert str(refused.value).startswith("folder/config.json: ")


def test_files(tmp_path):
    with pytest.raises(config.ConfigError, match=r"config\.json: no such file"):
        config.read(tmp_path)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(config.ConfigError, match=r"config\.json: not JSON"):
        config.read(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(config.ConfigError, match="expected an object"):
        config.read(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_2_1B))
    assert config.read(tmp_path).hidden_size == 2048
