"""Who is measured, in this order: what time may not suffice for comes last."""

from __future__ import annotations

from benchmarks.peers.protocol import Peer

ONE, ALL = ("decode", "first"), ("decode", "first", "batches")
LOOP = "PyTorch loop, compiled (as gpt-fast)"
PEERS = (
    Peer("ours-bfloat16", "**this engine**", "bfloat16", "ours", {"weights": "bfloat16"}, ONE),
    Peer("ours-int8", "**this engine**", "int8", "ours", {"weights": "int8"}, ONE),
    Peer("ours-several", "**this engine**, several texts", "bfloat16", "ours", {"several": True}, ("batches",)),
    Peer("loop-bfloat16", LOOP, "bfloat16", "compiled_loop", {}, ALL),
    Peer("transformers-sdpa", "Transformers, sdpa, `generate`", "bfloat16", "hugging_face", {"how": "dynamic"}, ONE),
    Peer("transformers-loop", "Transformers, static cache, compiled loop", "bfloat16", "hugging_face", {"how": "loop"}, ONE),
    Peer("loop-int8", LOOP, "int8", "compiled_loop", {"weights": "int8"}, ("decode",)),
    Peer(
        "transformers-static", "Transformers, static cache, `generate`", "bfloat16", "hugging_face", {"how": "static"},
        ("decode",),
    ),
    Peer("llama.cpp-bf16", "llama.cpp", "bf16", "llama_cpp", {"weights": "bf16"}, ONE),
    Peer("llama.cpp-q8_0", "llama.cpp", "q8_0", "llama_cpp", {"weights": "q8_0"}, ONE),
    Peer("loop-prompt", f"{LOOP}, prompt compiled too", "bfloat16", "compiled_loop", {"compile_prompt": True}, ("first",)),
)  # fmt: skip
OURS = tuple(peer for peer in PEERS if peer.module == "ours")
