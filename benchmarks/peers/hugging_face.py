"""Hugging Face Transformers: its `generate`, with a growing or a static cache, and its model in a compiled loop of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import transformers

from benchmarks.peers.protocol import Plan, Prepared, instruments
from benchmarks.peers.replay import Replay, single
from benchmarks.peers.torch_weights import Reader, compiled, state, where
from engine.config import Config
from engine.model import Model

ARCHITECTURE = "a Llama without norms of queries and keys"


def config_of(config: Config, **changed: Any) -> Any:
    """The engine's configuration in Transformers' words; no token ends a text.

    Raises:
        ValueError: it is no Llama.
    """
    if config.qk_norm:
        raise ValueError(f"qk_norm is {config.qk_norm}: expected {ARCHITECTURE}")
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "vocab_size", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
    )  # fmt: skip
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        rope |= vars(config.rope_scaling) | {"rope_type": "llama3"}
    fields = {name: getattr(config, name) for name in names} | changed
    return transformers.LlamaConfig(
        **fields, rope_parameters=rope, bos_token_id=None, eos_token_id=None, pad_token_id=None
    )


def build(config: Any, weights: dict[str, Any], dtype: Any, attention: str = "sdpa") -> Any:
    """A model on the device in use, with copies of these weights."""
    with torch.device(where()):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    expected = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if set(missing) != expected or unexpected:
        raise ValueError(f"weights are missing or too many: {sorted(missing)}, {sorted(unexpected)}")
    model.generation_config.eos_token_id = None
    return model.eval().requires_grad_(False)


class Generate:
    """Its `generate`, which hands each token to a streamer.

    Args:
        cache: `static`, of which the decode steps are compiled, or `dynamic`.
    """

    def __init__(self, peer: Any, cache: str) -> None:
        self._peer, self._cache = peer, cache
        self.replay = Replay()

    def go_on_all(self, prompts: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
        """See `benchmarks.peers.protocol.ContinueAll`."""
        ids = torch.tensor(prompts, device=where())

        def call(hand: Callable[[list[int]], None]) -> None:
            self._peer.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0,
                cache_implementation=self._cache, streamer=Streamer(hand),
            )  # fmt: skip

        return self.replay.play(call)

    def go_on(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        """See `engine.benchmark.Continue`."""
        return single(self.go_on_all([ids], tokens))


class Streamer:
    """What `generate` hands over."""

    def __init__(self, hand: Callable[[list[int]], None]) -> None:
        self._hand = hand

    def put(self, value: Any) -> None:
        """The prompt, [texts, tokens], then the tokens of each step, [texts]."""
        if value.ndim == 1:
            self._hand(value.tolist())

    def end(self) -> None:
        """Nothing comes after it."""


class Loop:
    """Its model with its static cache, one compiled step, and a loop that waits for no token.

    Args:
        mode: of torch.compile; "" to leave it out.
    """

    def __init__(self, peer: Any, mode: str) -> None:
        self._peer, self._mode = peer, mode
        self._cache: Any = None
        self._made_for: tuple[int, int, int] | None = None

    def _open(self, texts: int, capacity: int, tokens: int) -> None:
        if self._made_for == (texts, capacity, tokens):
            self._cache.reset()
            return
        peer, cache = self._peer, transformers.StaticCache(config=self._peer.config, max_cache_len=capacity)

        def step(token: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = peer(input_ids=token, past_key_values=cache, use_cache=True).logits
            return logits[:, -1].argmax(-1, keepdim=True)

        self._cache, self._step = cache, compiled(step, self._mode, whole=False)
        self._reader = Reader(tokens, texts)
        self._made_for = texts, capacity, tokens

    def go_on_all(self, prompts: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
        """See `benchmarks.peers.protocol.ContinueAll`."""
        self._open(len(prompts), len(prompts[0]) + tokens, tokens)
        reader, ids = self._reader, torch.tensor(prompts, device=where())
        out = self._peer(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        reader.send(0, token)
        for number in range(1, tokens):
            token = self._step(token).clone()  # a graph's result is overwritten by its next run
            reader.send(number, token)
            yield reader.read(number - 1)
        yield reader.read(tokens - 1)

    def go_on(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        """See `engine.benchmark.Continue`."""
        return single(self.go_on_all([ids], tokens))


def prepare(model: Model, plan: Plan, how: str) -> Prepared:
    """The model in Transformers, bfloat16 with sdpa attention.

    Args:
        how: `dynamic` or `static`: `generate` with that cache; `loop`: a compiled loop.
    """
    peer = build(config_of(model.config), state(model), torch.bfloat16)
    about = {"torch": torch.__version__, "transformers": transformers.__version__}
    if how == "loop":
        loop = Loop(peer, plan.compile_mode)
        return Prepared(loop.go_on, loop.go_on_all, about=about | {"compile_mode": plan.compile_mode})
    generate = Generate(peer, how)
    return Prepared(generate.go_on, generate.go_on_all, instruments(generate.replay.clock), about)
