"""A Llama in plain PyTorch with a static cache, one compiled decode step, and a loop: what gpt-fast does.

As there (github.com/meta-pytorch/gpt-fast), it is written for speed in few lines: the best that PyTorch gives without kernels
of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.peers.protocol import Plan, Prepared
from benchmarks.peers.replay import single
from benchmarks.peers.torch_weights import Reader, compiled, state, tensor, where
from engine.config import Config
from engine.model import Model


class Projection(nn.Module):
    """`x @ weight.T`; of int8, with one scale for each row, widened on the way."""

    def __init__(self, weight: torch.Tensor, kind: str) -> None:
        super().__init__()
        self.quantized = kind == "int8"
        if self.quantized:
            wide = weight.float()
            scale = wide.abs().amax(1).clamp_min(1e-30) / 127
            self.register_buffer("scale", scale.to(weight.dtype))
            weight = torch.round(wide / scale[:, None]).to(torch.int8)
        self.register_buffer("weight", weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[…, in] → […, out]."""
        if self.quantized:
            return F.linear(x, self.weight.to(x.dtype)) * self.scale
        return F.linear(x, self.weight)


class Norm(nn.Module):
    """RMSNorm, in float32."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.register_buffer("weight", weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[…, hidden], alike."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return wide.to(x.dtype) * self.weight


class Layer(nn.Module):
    """A decoder layer, with its cache: [texts, kv_heads, capacity, head_dim]."""

    def __init__(self, config: Config, weights: dict[str, torch.Tensor], kind: str, texts: int, capacity: int) -> None:
        super().__init__()
        q, k, v = (weights[f"self_attn.{name}_proj.weight"] for name in "qkv")
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads, config.num_key_value_heads, config.head_dim,
        )  # fmt: skip
        self.qkv = Projection(torch.cat([q, k, v]), kind)
        self.output = Projection(weights["self_attn.o_proj.weight"], kind)
        self.gate, self.up, self.down = (
            Projection(weights[f"mlp.{name}_proj.weight"], kind) for name in ("gate", "up", "down")
        )
        self.input_norm = Norm(weights["input_layernorm.weight"], config.rms_norm_eps)
        self.post_norm = Norm(weights["post_attention_layernorm.weight"], config.rms_norm_eps)
        for name in ("keys", "values"):
            self.register_buffer(name, q.new_zeros(texts, self.kv_heads, capacity, self.head_dim))

    def forward(
        self,
        x: torch.Tensor,
        turns: tuple[torch.Tensor, torch.Tensor],
        position: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """[texts, tokens, hidden], alike.

        Args:
            turns: cosine and sine of each position, [tokens, head_dim].
            position: [tokens], of the tokens in the cache.
            mask: [1, 1, 1, capacity], positions that one new token sees; None for a whole prompt.
        """
        texts, tokens, _ = x.shape
        sizes = [self.heads * self.head_dim, self.kv_heads * self.head_dim, self.kv_heads * self.head_dim]
        q, k, v = (
            part.view(texts, tokens, -1, self.head_dim).transpose(1, 2)
            for part in self.qkv(self.input_norm(x)).split(sizes, dim=-1)
        )
        q, k = turned(q, turns), turned(k, turns)
        self.keys[:, :, position] = k
        self.values[:, :, position] = v
        if mask is None:
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:  # the query heads of a KV head as its queries: nothing is copied for them
            q = q.reshape(texts, self.kv_heads, -1, self.head_dim)
            scores = (q @ self.keys.transpose(-1, -2)) * self.head_dim**-0.5
            shares = scores.masked_fill(~mask, -torch.inf).softmax(-1, dtype=torch.float32)
            attended = shares.to(x.dtype) @ self.values
            attended = attended.reshape(texts, self.heads, 1, self.head_dim)
        x = x + self.output(attended.transpose(1, 2).reshape(texts, tokens, -1))
        inner = self.post_norm(x)
        return x + self.down(F.silu(self.gate(inner)) * self.up(inner))


def turned(x: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """RoPE of [texts, heads, tokens, head_dim]: numbers i and i + head_dim / 2 are a pair."""
    cosine, sine = turns
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cosine + torch.cat([-second, first], dim=-1) * sine).to(x.dtype)


class Llama(nn.Module):
    """The model for a fixed number of texts and positions."""

    def __init__(self, model: Model, kind: str, texts: int, capacity: int) -> None:
        super().__init__()
        weights, config = state(model), model.config
        if config.qk_norm:
            raise ValueError("norms of queries and keys are not written here")

        def of_layer(number: int) -> dict[str, torch.Tensor]:
            prefix = f"model.layers.{number}."
            return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}

        self.layers = nn.ModuleList(
            Layer(config, of_layer(n), kind, texts, capacity) for n in range(config.num_hidden_layers)
        )
        self.norm = Norm(weights["model.norm.weight"], config.rms_norm_eps)
        embedding = weights["model.embed_tokens.weight"]
        self.head = Projection(weights.get("lm_head.weight", embedding), kind)
        self.register_buffer("embedding", embedding)
        positions = torch.arange(capacity, device=embedding.device)
        angles = positions[:, None].float() * tensor(model.frequencies).float()
        self.register_buffer("cosine", torch.cat([angles.cos(), angles.cos()], dim=-1))
        self.register_buffer("sine", torch.cat([angles.sin(), angles.sin()], dim=-1))
        self.register_buffer("positions", positions)

    def forward(self, ids: torch.Tensor, position: torch.Tensor, prompt: bool) -> torch.Tensor:
        """The likeliest next token of each text, [texts, 1].

        Args:
            ids: [texts, tokens].
            position: [tokens].
            prompt: these are a text's first tokens; else it is one token.
        """
        logits = self.logits(ids, position, prompt)
        return logits.argmax(-1, keepdim=True)

    def logits(self, ids: torch.Tensor, position: torch.Tensor, prompt: bool) -> torch.Tensor:
        """Of each text's last token: [texts, vocab]."""
        x = F.embedding(ids, self.embedding)
        turns = (self.cosine[position], self.sine[position])
        mask = None if prompt else (self.positions <= position)[None, None, None, :]
        for layer in self.layers:
            x = layer(x, turns, position, mask)
        return self.head(self.norm(x[:, -1]))


class Loop:
    """Texts, one or several, from one model; made anew for another number of texts, or another length."""

    def __init__(self, model: Model, plan: Plan, kind: str, compile_prompt: bool) -> None:
        self._model, self._plan, self._kind, self._compile_prompt = model, plan, kind, compile_prompt
        self._llama: Any = None
        self._step: Any = None
        self._prompt: Any = None
        self._made_for: tuple[int, int] | None = None

    def _open(self, texts: int, capacity: int) -> None:
        if self._made_for == (texts, capacity):
            return
        self._made_for = self._llama = self._step = self._prompt = None  # their memory is free before more is taken
        torch._dynamo.reset()
        plan = self._plan
        self._llama = llama = Llama(self._model, self._kind, texts, capacity).eval()

        def step(token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
            return llama(token, position, prompt=False)

        def prompt(ids: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
            return llama(ids, position, prompt=True)

        self._step = compiled(step, plan.compile_mode)
        self._prompt = compiled(prompt, plan.compile_mode, dynamic=None) if self._compile_prompt else prompt
        self._reader = Reader(capacity, texts)
        self._made_for = texts, capacity

    def go_on_all(self, prompts: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
        """See `benchmarks.peers.protocol.ContinueAll`."""
        # No longer than the text: a step attends to all of it. Except where all lengths share one compiled prompt.
        length = self._plan.capacity if self._compile_prompt else len(prompts[0]) + tokens
        self._open(len(prompts), length)
        reader = self._reader
        ids = torch.tensor(prompts, device=where())
        token = self._prompt(ids, torch.arange(ids.shape[1], device=where())).clone()
        reader.send(0, token)
        position = torch.tensor([ids.shape[1]], device=where())
        for number in range(1, tokens):
            token = self._step(token, position).clone()  # a graph's result is overwritten by its next run
            position += 1
            reader.send(number, token)
            yield reader.read(number - 1)
        yield reader.read(tokens - 1)

    def go_on(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        """See `engine.benchmark.Continue`."""
        return single(self.go_on_all([ids], tokens))


def prepare(model: Model, plan: Plan, weights: str = "bfloat16", compile_prompt: bool = False) -> Prepared:
    """The loop; it compiles at its first text.

    Args:
        compile_prompt: the pass over the prompt too, for each length.
    """
    loop = Loop(model, plan, weights, compile_prompt)
    about = {"torch": torch.__version__, "compile_mode": plan.compile_mode}
    return Prepared(loop.go_on, loop.go_on_all, about=about)
