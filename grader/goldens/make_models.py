"""Makes the stored answers of Hugging Face Transformers that engine and lessons are held to.

    pip install -e '.[goldens]' && python -m engine pull smollm2-135m && python -m grader.goldens.make_models

Arithmetic is float32 on the bfloat16 weights as they are, with eager attention. Written: `grader/goldens/<model>.json`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from grader.goldens import tiny

HERE = Path(__file__).parent
SAMPLED = 256  # logits kept of a large vocabulary, beside the largest
LARGEST = 16
CONTINUED = 24  # greedy tokens after each prompt; fewer after a long one
REAL = "smollm2-135m"
PROMPTS = {
    "capital": "The capital of France is",
    "one token": "Once",
    "code": "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "unicode": "Łódź, naïve café, 東京, Привет, 👩‍🚀 — ½ × √2 ≈",
    "numbers": "1, 1, 2, 3, 5, 8, 13, 21, 34, 55,",
    "chat": "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
    "whitespace": "\n\n\t  a\n\n   b\t\tc   \n",
    "list": "Shopping list:\n- apples\n- bread\n- cheese\n- apples\n- bread\n-",
}
LONG = "The quick brown fox number {} jumps over the lazy dog, who counts: {}. "


def numbers(values: Any) -> list[float]:
    """Nine digits: more than a float32 has."""
    return [float(f"{v:.9g}") for v in np.asarray(values, np.float64).ravel()]


def answers(model: Any, ids: list[int], continued: int) -> dict[str, Any]:
    """What Transformers computes for one prompt."""
    import torch

    with torch.no_grad():
        out = model(torch.tensor([ids]), output_hidden_states=True, use_cache=True)
        logits = out.logits[0].double().numpy()
        hidden = [h[0].double().numpy() for h in out.hidden_states]
        tokens, margins = [], []
        last, cache = out.logits[:, -1], out.past_key_values
        for _ in range(continued):
            top = last[0].topk(2)
            tokens.append(int(top.indices[0]))
            margins.append(float(top.values[0] - top.values[1]))
            step = model(torch.tensor([[tokens[-1]]]), past_key_values=cache, use_cache=True)
            last, cache = step.logits[:, -1], step.past_key_values
    final = logits[-1]
    size = len(final)
    chosen = np.arange(size) if size <= 2 * SAMPLED else np.random.default_rng(0).choice(size, SAMPLED, replace=False)
    chosen = np.unique(np.concatenate([chosen, np.argsort(final)[-LARGEST:]]))
    return {
        "ids": ids,
        "layer_norms": numbers([np.linalg.norm(h) for h in hidden]),
        "last_token_layer_norms": numbers([np.linalg.norm(h[-1]) for h in hidden]),
        "logit_ids": chosen.tolist(),
        "logits": numbers(final[chosen]),
        "logit_norm": numbers([np.linalg.norm(final)])[0],
        "position_logit_norms": numbers(np.linalg.norm(logits, axis=1))[:64],
        "greedy": tokens,
        "margins": numbers(margins),
    }


def write(name: str, prompts: dict[str, list[int]], model: Any, about: dict[str, Any]) -> None:
    """One model's file."""
    import torch
    import transformers

    record = {
        "made_by": "python -m grader.goldens.make_models",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "arithmetic": "float32 on bfloat16 weights, eager attention",
        **about,
        "prompts": {label: answers(model, ids, CONTINUED if len(ids) < 1000 else 4) for label, ids in prompts.items()},
    }
    (HERE / f"{name}.json").write_text(
        json.dumps(record, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n"
    )
    print(f"{name}: {len(prompts)} prompts")


def load(folder: Path) -> Any:
    """A model in float32."""
    import torch
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def main() -> None:
    """All of them."""
    from tokenizers import Tokenizer

    from engine import hub

    for name, config in tiny.MODELS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for file, content in tiny.files(name).items():
                (folder / file).write_bytes(content)
            rng = np.random.default_rng([1, *name.encode()])
            lengths = (1, 2, 7, 16, 33, 64, 65, 200)
            prompts = {f"{n} tokens": rng.integers(0, config["vocab_size"], n).tolist() for n in lengths}
            write(name, prompts, load(folder), {"weights": "grader/goldens/tiny.py, seed 0"})
    folder = hub.require(REAL)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts = {label: tokenizer.encode(text).ids for label, text in PROMPTS.items()}
    long = "".join(LONG.format(i, i * i) for i in range(200))
    prompts["2,048 tokens"] = tokenizer.encode(long).ids[:2048]
    assert len(prompts["2,048 tokens"]) == 2048
    source = json.loads((folder / hub.RECORD).read_text())
    about = {"weights": f"{source['source']}, sha256 {source['sha256']}, as bfloat16", "texts": PROMPTS}
    write(REAL, prompts, load(folder), about)


if __name__ == "__main__":
    main()
