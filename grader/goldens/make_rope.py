"""Makes `grader/goldens/rope.json`: the rotary tables of Transformers' Llama, and a query that it rotates.

    pip install -e '.[goldens]' && python -m grader.goldens.make_rope

Transformers computes them in float32: frequencies, angles, cosines, sines.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from grader import goldens

POSITIONS = (0, 1, 2, 17, 1023, 8191, 8192, 100_003, 131_071)
LLAMA_3_2 = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
LLAMA_3_1 = {**LLAMA_3_2, "factor": 8.0}
# Head dimension, theta, scaling: as in SmolLM2-135M, Llama 3 8B, Llama 3.2 1B and Llama 3.1 8B, and the rest of the grid.
TABLES: dict[str, tuple[int, float, dict[str, Any] | None]] = {
    **{f"theta {theta:,}": (64, float(theta), None) for theta in (10_000, 100_000, 500_000)},
    **{f"theta {theta:,}, llama3": (64, float(theta), LLAMA_3_2) for theta in (10_000, 100_000, 500_000)},
    "128 numbers a head": (128, 500_000.0, None),
    "128 numbers a head, llama3": (128, 500_000.0, LLAMA_3_1),
}


def query(head_dim: int) -> np.ndarray:
    """What is rotated: [positions, 1 head, head_dim] float32, the same on every machine."""
    return np.random.default_rng(head_dim).standard_normal((len(POSITIONS), 1, head_dim)).astype(np.float32)


def table(head_dim: int, theta: float, scaling: dict[str, Any] | None) -> dict[str, Any]:
    """One model's frequencies, and cosines, sines and the rotated query at the positions."""
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    parameters = {"rope_theta": theta, **(scaling or {"rope_type": "default"})}
    config = LlamaConfig(
        head_dim=head_dim,
        hidden_size=head_dim,
        num_attention_heads=1,
        max_position_embeddings=max(POSITIONS) + 1,
        rope_parameters=parameters,
    )
    embedding = LlamaRotaryEmbedding(config)
    q = torch.from_numpy(query(head_dim))[None]  # [batch, positions, heads, head_dim]
    cos, sin = embedding(q, torch.tensor([POSITIONS]))
    rotated, _ = apply_rotary_pos_emb(q, q, cos, sin, unsqueeze_dim=2)
    half = head_dim // 2
    assert embedding.attention_scaling == 1.0
    assert torch.equal(cos[..., :half], cos[..., half:])
    assert torch.equal(sin[..., :half], sin[..., half:])
    return {
        "head_dim": head_dim,
        "theta": theta,
        "scaling": scaling,
        "inverse_frequencies": numbers(embedding.inv_freq),
        "cos": [numbers(row) for row in cos[0, :, :half]],
        "sin": [numbers(row) for row in sin[0, :, :half]],
        "rotated": [numbers(row) for row in rotated[0, :, 0]],
    }


def numbers(tensor: Any) -> list[float]:
    """A float32 row with the fewest digits that give the same bits again."""
    return [float(str(value)) for value in tensor.numpy()]


def main() -> None:
    """All tables."""
    import torch
    import transformers

    record = {
        "made_by": "python -m grader.goldens.make_rope",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "arithmetic": "float32 throughout, on the CPU",
        "query": "numpy.random.default_rng(head_dim).standard_normal((9, 1, head_dim)), as float32",
        "positions": list(POSITIONS),
        "tables": {name: table(*given) for name, given in TABLES.items()},
    }
    path = goldens.FOLDER / "rope.json"
    path.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(TABLES)} tables")


if __name__ == "__main__":
    main()
