"""Weights from a model's folder: the right ones, whole, on the device, each byte once; all else refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

from engine import config, device, hub, weights
from grader.checks import day03
from grader.spec import Folder
from tests.engine.tiny_gguf import make_gguf

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def folder(path: Path, make: day03.Make, seed: int = 1) -> Path:
    """What a case of day 3 makes, written down."""
    made = make(np.random.default_rng(seed))[0]
    assert isinstance(made, Folder)
    path.mkdir(exist_ok=True)
    for name, content in made.files.items():
        (path / name).write_bytes(content)
    return path


def on_host(loaded: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: device.to_host(array) for name, array in loaded.items()}


@pytest.mark.parametrize(
    ("fields", "elements"),
    [
        (day03.LLAMA_3_2_1B, 1_235_814_400),  # as Meta's model cards and Hugging Face's pages have them
        (day03.LLAMA_3_1_8B, 8_030_261_248),
        (day03.QWEN3_0_6B, 596_049_920),
    ],
)
def test_published_sizes(fields, elements):
    shapes = weights.expected_tensors(config.parse(fields))
    assert sum(map(math.prod, shapes.values())) == elements


def test_bytes_of_a_token():
    assert weights.bytes_per_token(config.parse(day03.LLAMA_3_2_1B)) == 2 * 1_235_814_400
    without_embedding = 8_030_261_248 - (128_256 - 1) * 4096
    assert weights.bytes_per_token(config.parse(day03.LLAMA_3_1_8B)) == 2 * without_embedding


@pytest.mark.parametrize("fields", [day03.LLAMA, day03.UNTIED, day03.QWEN3], ids=["tied", "untied", "qwen3"])
@pytest.mark.parametrize("make", [day03.single, day03.sharded], ids=["single", "sharded"])
def test_every_tensor_on_the_device(on, tmp_path, make, fields):
    path = folder(tmp_path / "model", make(fields))
    loaded = weights.load_weights(path)
    assert all(
        type(array).__module__.split(".")[0] == {"cpu": "numpy", "cuda": "cupy"}[on] for array in loaded.values()
    )
    stored = {name: array for file in path.glob("*.safetensors") for name, array in load_file(file).items()}
    assert set(loaded) == set(stored) | {weights.HEAD}
    for name, array in on_host(loaded).items():
        assert array.dtype == BFLOAT16
        assert array.tobytes() == stored.get(name, stored[weights.EMBEDDING]).tobytes()
    assert (loaded[weights.HEAD] is loaded[weights.EMBEDDING]) is fields["tie_word_embeddings"]


def test_arrays_of_the_host_are_aligned_for_wide_loads(on_cpu, tmp_path):
    loaded = weights.load_weights(folder(tmp_path / "model", day03.single(day03.LLAMA)))
    assert all(array.ctypes.data % 16 == 0 and array.flags.c_contiguous for array in loaded.values())


def test_a_converted_gguf(on_cpu, tmp_path, home):
    expected = make_gguf(tmp_path / "tiny.gguf", tied=False)
    loaded = weights.load_weights(hub.pull(str(tmp_path / "tiny.gguf")))
    assert set(loaded) == set(expected)


def test_a_real_model(on_cpu):
    path = hub.find("smollm2-135m")
    if path is None:
        pytest.skip("NOT RUN: the model is not here: python -m engine pull smollm2-135m")
    read = config.read(path)
    loaded = weights.load_weights(path)
    assert sum(a.nbytes for name, a in loaded.items() if name != weights.HEAD) == weights.bytes_per_token(read)
    assert weights.bytes_per_token(read) == 2 * 134_515_008


@pytest.mark.parametrize(
    "bad", [*day03.STORED.bad_input, *day03.LOAD.bad_input], ids=lambda bad: bad.name.replace(" ", "-")
)
def test_refused_by_name(on_cpu, tmp_path, bad):
    path = folder(tmp_path / "model", bad.make)
    with pytest.raises((weights.WeightsError, config.ConfigError)) as refused:
        weights.load_weights(path)
    words = (bad.mentions,) if isinstance(bad.mentions, str) else bad.mentions
    if (path / day03.CONFIG).is_file():  # else that is missing first
        assert all(word in str(refused.value) for word in words), refused.value


def test_nothing_is_read_before_all_is_checked(on_cpu, tmp_path, monkeypatch):
    def unwanted(*_: Any) -> Any:
        raise AssertionError("a tensor is read")

    monkeypatch.setattr(weights, "read_tensors", unwanted)
    path = folder(tmp_path / "model", day03.sharded(day03.LLAMA, day03.without(day03.NORM)))
    with pytest.raises(weights.WeightsError, match=r"1 tensors are missing: model\.norm\.weight"):
        weights.load_weights(path)


@pytest.mark.parametrize(("lacking", "listed"), [(4, "d"), (7, "e, …")])
def test_up_to_five_names_are_listed(lacking, listed):
    assert weights.listed(list("abcdefghij"[:lacking])).endswith(listed)


def test_unreadable_index(on_cpu, tmp_path):
    path = folder(tmp_path / "model", day03.indexed(b"\xff\xfe"))
    with pytest.raises(weights.WeightsError, match=r"index\.json: not JSON"):
        weights.load_weights(path)


def test_a_folder_in_place_of_a_file(on_cpu, tmp_path):
    path = folder(tmp_path / "model", day03.sharded(day03.LLAMA, files=day03.lost))
    (path / "model-00001-of-00003.safetensors").mkdir()
    with pytest.raises(weights.WeightsError, match="model-00001-of-00003"):
        weights.load_weights(path)


sizes = st.integers(1, 5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hidden=sizes, mlp=sizes, layers=st.integers(1, 3), kv=sizes, group=sizes, half=sizes, vocabulary=sizes,
    tied=st.booleans(), qwen=st.booleans(), files=st.integers(1, 4), seed=st.integers(0, 2**32 - 1), data=st.data(),
)  # fmt: skip
def test_any_model(on_cpu, tmp_path, hidden, mlp, layers, kv, group, half, vocabulary, tied, qwen, files, seed, data):
    """A random model in any number of files loads; without one tensor, or with one changed, it does not."""
    fields = {
        "architectures": ["Qwen3ForCausalLM" if qwen else "LlamaForCausalLM"], "hidden_size": hidden, "head_dim": 2 * half,
        "intermediate_size": mlp, "num_hidden_layers": layers, "num_key_value_heads": kv, "num_attention_heads": kv * group,
        "vocab_size": vocabulary, "tie_word_embeddings": tied,
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    tensors = day03.random_weights(fields, rng)
    path = tmp_path / "model"
    path.mkdir(exist_ok=True)
    (path / day03.CONFIG).write_text(json.dumps(fields))

    def write() -> None:
        for old in path.glob("model*"):
            old.unlink()
        places = {name: f"model-{rng.integers(files)}.safetensors" for name in tensors}
        for file in set(places.values()):
            save_file({name: tensor for name, tensor in tensors.items() if places[name] == file}, path / file)
        (path / day03.INDEX).write_text(json.dumps({"weight_map": places}))

    write()
    loaded = weights.load_weights(path)
    assert {name: a.tobytes() for name, a in loaded.items() if name in tensors} == {
        name: a.tobytes() for name, a in tensors.items()
    }
    name = data.draw(st.sampled_from(sorted(tensors)))
    match data.draw(st.integers(0, 3)):
        case 0:
            del tensors[name]
        case 1:
            tensors[name] = np.concatenate([tensors[name], tensors[name][:1]])
        case 2:
            tensors[name] = tensors[name].astype(np.float16)
        case _:
            tensors[f"{name}s"] = tensors[name]
    if not tensors:
        return
    write()
    with pytest.raises(weights.WeightsError, match=name.replace(".", r"\.")):
        weights.load_weights(path)


def test_saved_by_the_library_for_torch_too(on_cpu, tmp_path):
    """Metadata does not matter, and neither does what else lies in the folder."""
    path = folder(tmp_path / "model", day03.single(day03.LLAMA, tokenizer__json=b"{}", README__md=b"x"))
    (path / "adapter.safetensors").write_bytes(save({"x": np.zeros(1)}))
    assert weights.HEAD in weights.load_weights(path)
