"""Whole models beside Hugging Face Transformers: how far from float32 arithmetic is the engine, how far its bfloat16 run?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine import config, device, evaluate, hub, model

REAL = "smollm2-135m"
SEED = 1
TOKENS = (1, 16, 128, 512)
LLAMA_3_2_1B: dict[str, Any] = {  # its config.json, without what the engine and Transformers do not read
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": True,
    "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "bos_token_id": 128000, "eos_token_id": 128001,
}  # fmt: skip


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """Every model at every prompt length."""
    try:
        import torch
        import transformers
    except ImportError as error:
        return {"not_run": f"{error.name} is not installed: pip install -e '.[goldens]'"}
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    rows = []
    for name, peer in _models():
        if isinstance(peer, str):
            rows.append({"model": name, "not_run": peer})
            continue
        rows += list(_compare(name, peer))
        del peer
        torch.cuda.empty_cache()
    return {"torch": torch.__version__, "transformers": transformers.__version__, "seed": SEED, "rows": rows}


def _models() -> Iterator[tuple[str, Any]]:
    """Each model in Transformers, bfloat16 on the GPU; or why it cannot be had."""
    import torch
    import transformers

    torch.manual_seed(SEED)
    with torch.device("cuda"):
        made = transformers.AutoModelForCausalLM.from_config(
            transformers.LlamaConfig(**{k: v for k, v in LLAMA_3_2_1B.items() if k not in ("architectures", "model_type")}),
            dtype=torch.bfloat16, attn_implementation="eager",
        ).eval()  # fmt: skip
    yield "Llama-3.2-1B, random weights", made
    folder = hub.find(REAL)
    if folder is None:
        yield REAL, f"python -m engine pull {REAL}"
        return
    yield (
        REAL,
        transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation="eager", device_map="cuda"
        ).eval(),
    )


def _weights(peer: Any) -> dict[str, Any]:
    """Transformers' weights as CuPy arrays: the same memory, looked at as bfloat16."""
    import cupy
    import ml_dtypes
    import torch

    return {
        name: cupy.from_dlpack(tensor.detach().contiguous().view(torch.int16)).view(ml_dtypes.bfloat16)
        for name, tensor in peer.state_dict().items()
        if name != "lm_head.weight" or not peer.config.tie_word_embeddings
    }


def _compare(name: str, peer: Any) -> Iterator[dict[str, Any]]:
    import torch

    fields = {**peer.config.to_dict(), "architectures": ["LlamaForCausalLM"]}
    ours = model.assemble(config.parse(fields), _weights(peer))
    rng = np.random.default_rng(SEED)
    texts = {n: rng.integers(0, ours.config.vocab_size, n).tolist() for n in TOKENS}
    got = {n: evaluate.logits(ours, ids, all_positions=True).astype(np.float64) for n, ids in texts.items()}
    del ours

    def theirs(ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            answer = peer(torch.tensor([ids], device="cuda")).logits[0].double().cpu().numpy()
        return np.asarray(answer)

    rounded = {n: theirs(ids) for n, ids in texts.items()}
    peer.float()  # the same bfloat16 weights, every activation and sum in float32
    for n, ids in texts.items():
        exact = theirs(ids)
        norm = np.linalg.norm(exact)
        yield {
            "model": name, "tokens": n, "device": device.label(),
            "error": float(np.linalg.norm(got[n] - exact) / norm),
            "error_last_position": float(np.linalg.norm(got[n][-1] - exact[-1]) / np.linalg.norm(exact[-1])),
            "transformers_bfloat16_error": float(np.linalg.norm(rounded[n] - exact) / norm),
            "same_next_tokens": int((got[n].argmax(1) == exact.argmax(1)).sum()),
            "transformers_bfloat16_same_next_tokens": int((rounded[n].argmax(1) == exact.argmax(1)).sum()),
        }  # fmt: skip
