"""The float64 oracle of whole models is right: it agrees with Hugging Face Transformers to float32's own rounding."""

from __future__ import annotations

import json

import numpy as np
import pytest

from grader import goldens, llama
from grader.goldens import tiny

TINY = [(name, prompt) for name in tiny.MODELS for prompt in goldens.load(name)["prompts"]]
FLOAT32 = 5e-5  # what Transformers' float32 arithmetic leaves after all layers


@pytest.mark.parametrize(("name", "prompt"), TINY)
def test_tiny_models(name, prompt):
    golden = goldens.load(name)["prompts"][prompt]
    trace: dict[str, np.ndarray] = {}
    logits = llama.forward(tiny.MODELS[name], tiny.weights(name), np.array(golden["ids"]), trace)
    assert error(logits[-1][golden["logit_ids"]], golden["logits"]) < FLOAT32
    assert error(np.linalg.norm(logits, axis=1)[:64], golden["position_logit_norms"]) < FLOAT32
    outputs = [trace["embedding"], *(trace[f"layer {n} output"] for n in range(tiny.MODELS[name]["num_hidden_layers"]))]
    assert error([np.linalg.norm(x) for x in outputs[:-1]], golden["layer_norms"][:-1]) < FLOAT32
    assert error([np.linalg.norm(trace["final norm"])], golden["layer_norms"][-1:]) < FLOAT32
    assert int(logits[-1].argmax()) == golden["greedy"][0] or golden["margins"][0] < 1e-3


@pytest.mark.parametrize("prompt", ["capital", "one token", "unicode"])
def test_the_real_model(prompt):
    from engine import hub

    folder = hub.find("smollm2-135m")
    if folder is None:
        pytest.skip("NOT RUN: the model is not here: python -m engine pull smollm2-135m")
    from safetensors import safe_open

    golden = goldens.load("smollm2-135m")["prompts"][prompt]
    with safe_open(str(folder / "model.safetensors"), "numpy") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict)
    logits = llama.forward(json.loads((folder / "config.json").read_text()), weights, np.array(golden["ids"]))
    assert error(logits[-1][golden["logit_ids"]], golden["logits"]) < FLOAT32


def error(got, expected) -> float:
    """Relative, in the Euclidean norm."""
    return float(np.linalg.norm(np.asarray(got) - expected) / np.linalg.norm(expected))
