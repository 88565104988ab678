"""A model's weights as torch tensors."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from engine import device
from engine.model import Model


def where() -> str:
    """Torch's name of the device in use."""
    return "cuda" if device.name() == "cuda" else "cpu"


def tensor(array: Any) -> Any:
    """An array as a tensor: on a GPU the same memory, on the CPU a copy."""
    import torch

    if device.name() == "cuda":
        return kernel_peers.torch_tensor(array)
    if array.dtype.itemsize == 2:  # NumPy's bfloat16 is not torch's
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def state(model: Model) -> dict[str, Any]:
    """All weights in bfloat16, by Hugging Face's names; `lm_head.weight` only where it is not the embedding."""
    import torch

    named = {"model.embed_tokens.weight": model.embedding, "model.norm.weight": model.norm}
    for number, layer in enumerate(model.layers):
        named |= {f"model.layers.{number}.{name}": weight for name, weight in layer.items()}
    if not model.config.tie_word_embeddings:
        named["lm_head.weight"] = model.head
    return {name: tensor(weight).to(torch.bfloat16) for name, weight in named.items()}


class Reader:
    """Tokens on their way to the host, while the GPU goes on: nobody waits for a token before the next step is launched."""

    def __init__(self, steps: int, texts: int) -> None:
        import torch

        self._on_gpu = device.name() == "cuda"
        self._host = torch.empty((steps, texts), dtype=torch.int64, pin_memory=self._on_gpu)
        self._events = [torch.cuda.Event() for _ in range(steps)] if self._on_gpu else []

    def send(self, step: int, tokens: Any) -> None:
        """The tokens of a step, [texts, 1], set off."""
        self._host[step].copy_(tokens[:, 0], non_blocking=True)
        if self._on_gpu:
            self._events[step].record()

    def read(self, step: int) -> list[int]:
        """The tokens of a step, once they are there."""
        while self._on_gpu and not self._events[step].query():
            time.sleep(0)
        return [int(token) for token in self._host[step]]


def compiled(function: Any, mode: str, whole: bool = True, dynamic: bool | None = False) -> Any:
    """By torch.compile, tuned as gpt-fast does; or itself, for an empty mode.

    Args:
        whole: one graph, or an error.
        dynamic: see torch.compile; None where sizes change from call to call.
    """
    import torch

    if not mode:
        return function
    import torch._inductor

    # Products of one row reach the memory's bandwidth only with its tuning.
    options = torch._inductor.list_mode_options(mode) | {"coordinate_descent_tuning": True}
    return torch.compile(function, fullgraph=whole, dynamic=dynamic, options=options)
