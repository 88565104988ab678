"""Hugging Face Transformers beside the engine, layer by layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import device, evaluate
from engine.model import Model

TOLERANCE = 1e-4  # relative, of float32 arithmetic on the same weights


class PeerMissing(ValueError):  # noqa: N818  (named for the state, as its message does)
    """Transformers or PyTorch is not installed; the message says how to get them."""


@dataclass(frozen=True)
class Row:
    """One tensor of both.

    Attributes:
        error: ‖ours − theirs‖ / ‖theirs‖, over all tokens.
        largest: of the absolute differences.
    """

    name: str
    error: float
    largest: float
    norm: float

    @property
    def agrees(self) -> bool:
        """Within the tolerance; a NaN is not."""
        return self.error <= TOLERANCE


@dataclass(frozen=True)
class Comparison:
    """All tensors, in the order in which the model computes them."""

    rows: tuple[Row, ...]
    device: str
    transformers: str
    same_token: bool
    margin: float  # between Transformers' two best logits

    @property
    def agree(self) -> bool:
        """Whether every tensor is within the tolerance."""
        return all(row.agrees for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "agree": self.agree, "tolerance": TOLERANCE, "device": self.device, "transformers": self.transformers,
            "same_token": self.same_token, "margin": self.margin,
            "tensors": [{**vars(row), "agrees": row.agrees} for row in self.rows],
        }  # fmt: skip


def compare(folder: Path, model: Model, ids: Sequence[int]) -> Comparison:
    """Run both on the same tokens; Transformers in float32 on the CPU, with eager attention.

    Raises:
        PeerMissing: torch or transformers cannot be imported.
        PromptError: see `engine.evaluate`.
    """
    theirs, version = _transformers(folder, ids)
    ours: dict[str, np.ndarray] = {}

    def note(name: str, tensor: Any) -> None:
        if name in theirs:
            ours[name] = device.to_host(tensor).astype(np.float64)

    evaluate.logits(model, ids, all_positions=True, note=note)
    rows = []
    for name, expected in theirs.items():
        difference = ours[name] - expected
        norm = float(np.linalg.norm(expected))
        rows.append(Row(name, float(np.linalg.norm(difference)) / norm, float(np.abs(difference).max()), norm))
    last, best = ours["logits"][-1], theirs["logits"][-1]
    two = np.sort(best)[-2:]
    same = int(last.argmax()) == int(best.argmax())
    return Comparison(tuple(rows), device.label(), version, same, float(two[1] - two[0]))


def _transformers(folder: Path, ids: Sequence[int]) -> tuple[dict[str, np.ndarray], str]:
    """Its tensors by the engine's names, and its version."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise PeerMissing(f"{error.name} is not installed: pip install -e '.[goldens]'") from error
    transformers.utils.logging.disable_progress_bar()
    peer = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        out = peer(torch.tensor([list(ids)]), output_hidden_states=True)
    *layers, last = (h[0].double().numpy() for h in out.hidden_states)
    # hidden_states[n] goes into layer n; the last one has been through the final norm.
    tensors = {"embedding": layers[0]}
    tensors |= {f"layer {n} output": h for n, h in enumerate(layers[1:])}
    tensors |= {"final norm": last, "logits": out.logits[0].double().numpy()}
    return tensors, transformers.__version__


def show(result: Comparison, as_json: bool) -> None:
    """Print it for people or for machines."""
    if as_json:
        print(json.dumps(result.as_json()))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"the engine on {result.device} beside Transformers {result.transformers}", title_justify="left"
    )
    for column in ("tensor", "relative error", "largest difference", "norm"):
        table.add_column(column, justify="left" if column == "tensor" else "right")
    for row in result.rows:
        mark = "" if row.agrees else "   parts here"
        table.add_row(row.name + mark, f"{row.error:.2e}", f"{row.largest:.2e}", f"{row.norm:.4g}")
    console = Console(highlight=False)
    console.print(table)
    parted = next((row.name for row in result.rows if not row.agrees), None)
    token = "the same next token" if result.same_token else f"another next token (their margin is {result.margin:.3g})"
    if parted is None:
        console.print(f"they agree: every tensor within {TOLERANCE:g}, and {token}")
    else:
        console.print(f"they part at {parted}: more than {TOLERANCE:g}; {token}")
