"""Whole models: the engine's logits are those of Hugging Face Transformers."""

from __future__ import annotations

import numpy as np
import pytest

from engine import config, device, evaluate, hub
from engine.model import Model, assemble, load
from grader import goldens, llama
from grader.goldens import tiny

TOLERANCE = 1e-4  # of logits, relative, with float32 activations
TINY = [(name, prompt) for name in tiny.MODELS for prompt in goldens.load(name)["prompts"]]
REAL = "smollm2-135m"


@pytest.fixture(scope="module")
def tiny_models() -> dict[str, Model]:
    device.select("cpu")
    return {
        name: assemble(config.parse(fields), {k: device.to_device(w) for k, w in tiny.weights(name).items()})
        for name, fields in tiny.MODELS.items()
    }


@pytest.fixture(scope="module")
def real_model() -> Model:
    folder = hub.find(REAL)
    if folder is None:
        pytest.skip(f"NOT RUN: the model is not here: python -m engine pull {REAL}")
    device.select("cpu")
    return load(folder)


def error(got, expected) -> float:
    return float(np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(("name", "prompt"), TINY)
def test_tiny_models(tiny_models, name, prompt):
    golden = goldens.load(name)["prompts"][prompt]
    got = evaluate.logits(tiny_models[name], golden["ids"], all_positions=True)
    assert error(got[-1][golden["logit_ids"]], golden["logits"]) < TOLERANCE
    assert error(np.linalg.norm(got, axis=1)[:64], golden["position_logit_norms"]) < TOLERANCE
    assert error(evaluate.logits(tiny_models[name], golden["ids"]), got[-1]) < TOLERANCE
    check_token(got[-1], golden)


def check_token(logits, golden) -> None:
    """The same next token, where the two best are further apart than the error."""
    if golden["margins"][0] > 2 * TOLERANCE * golden["logit_norm"]:
        assert int(logits.argmax()) == golden["greedy"][0]


@pytest.mark.parametrize("name", tiny.MODELS)
def test_every_intermediate_tensor(tiny_models, name):
    ids = np.random.default_rng(5).integers(0, tiny.MODELS[name]["vocab_size"], 21)
    expected: dict[str, np.ndarray] = {}
    llama.forward(tiny.MODELS[name], tiny.weights(name), ids, expected)
    seen = {}

    def note(tensor: str, value) -> None:
        seen[tensor] = device.to_host(value)

    evaluate.logits(tiny_models[name], ids.tolist(), all_positions=True, note=note)
    assert set(seen) <= set(expected)
    assert len(seen) > 15
    for tensor, value in seen.items():
        assert error(value, expected[tensor]) < TOLERANCE, tensor


@pytest.mark.parametrize("prompt", [p for p in goldens.load(REAL)["prompts"] if "2,048" not in p])
def test_the_real_model(real_model, prompt):
    golden = goldens.load(REAL)["prompts"][prompt]
    norms = []

    def note(tensor: str, value) -> None:
        if tensor == "embedding" or tensor.endswith("output") or tensor == "final norm":
            norms.append(float(np.linalg.norm(device.to_host(value)[-1].astype(np.float64))))

    logits = evaluate.logits(real_model, golden["ids"], note=note)
    assert error(logits[golden["logit_ids"]], golden["logits"]) < TOLERANCE
    assert error([np.linalg.norm(logits.astype(np.float64))], [golden["logit_norm"]]) < TOLERANCE
    # Transformers' last hidden state is the one after the final norm.
    assert error(norms[:-2] + norms[-1:], golden["last_token_layer_norms"]) < TOLERANCE
    check_token(logits, golden)


@pytest.mark.gpu
@pytest.mark.parametrize("prompt", list(goldens.load(REAL)["prompts"]))
def test_the_real_model_on_a_gpu(prompt):
    folder = hub.find(REAL)
    if folder is None:
        pytest.skip(f"NOT RUN: the model is not here: python -m engine pull {REAL}")
    golden = goldens.load(REAL)["prompts"][prompt]
    device.select("cuda")
    try:
        logits = evaluate.logits(load(folder), golden["ids"])
    finally:
        device.select("cpu")
    assert error(logits[golden["logit_ids"]], golden["logits"]) < TOLERANCE
    check_token(logits, golden)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([], "empty"),
        ([0] * 600, "600 tokens: expected at most 512"),
        ([3, 259], r"ids\[1\] is 259: expected 0 to 258"),
        ([-1], r"ids\[0\] is -1"),
    ],
)
def test_prompts_that_are_refused(tiny_models, ids, words):
    with pytest.raises(ValueError, match=words):
        evaluate.logits(tiny_models["tiny-llama"], ids)
