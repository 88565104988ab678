"""The models that suites run: in Hugging Face Transformers, and the same weights in the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine import config, hub, model
from engine.model import Model

REAL = "smollm2-135m"
RANDOM = "Llama-3.2-1B, random weights"
SEED = 1
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


def why_no_peer() -> str | None:
    """None where Transformers can be imported, else how to get it."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed: pip install -e '.[goldens]'"
    return None


def versions() -> dict[str, Any]:
    """For the record."""
    import torch
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__, "seed": SEED}


def exact_float32() -> None:
    """No TF32 in torch: float32 means float32."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def in_transformers(device: str = "cuda") -> Iterator[tuple[str, Any]]:
    """Each model, bfloat16 with eager attention, one at a time; or why it cannot be had."""
    import torch
    import transformers

    torch.manual_seed(SEED)
    with torch.device(device):
        made = transformers.AutoModelForCausalLM.from_config(
            transformers.LlamaConfig(**{k: v for k, v in LLAMA_3_2_1B.items() if k not in ("architectures", "model_type")}),
            dtype=torch.bfloat16, attn_implementation="eager",
        ).eval()  # fmt: skip
    yield RANDOM, made
    del made
    folder = hub.find(REAL)
    if folder is None:
        yield REAL, f"python -m engine pull {REAL}"
        return
    yield (
        REAL,
        transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation="eager", device_map=device
        ).eval(),
    )


def in_engine(peer: Any) -> Model:
    """The same model in the engine, on the same memory."""
    fields = {**peer.config.to_dict(), "architectures": ["LlamaForCausalLM"]}
    return model.assemble(config.parse(fields), shared_weights(peer))


def shared_weights(peer: Any) -> dict[str, Any]:
    """Transformers' weights as arrays of the device in use: the same memory, looked at as bfloat16."""
    import ml_dtypes
    import torch

    from engine.device import xp

    return {
        name: xp.from_dlpack(tensor.detach().contiguous().view(torch.int16)).view(ml_dtypes.bfloat16)
        for name, tensor in peer.state_dict().items()
        if name != "lm_head.weight" or not peer.config.tie_word_embeddings
    }
