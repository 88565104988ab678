"""Greedy texts of whole models beside Hugging Face Transformers in float32, on prompts that are stored nowhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import models
from engine import device, hub
from grader import budget

TOKENS = 256  # of each text
LENGTHS = (1, 17, 100, 300)  # of random prompts
SENTENCES = (
    "A kernel is launched as a grid of blocks. Each block",
    "Once upon a time, in a village between two rivers,",
    "def is_prime(n):\n",
    "Dear colleagues, thank you for",
)
ENGINES = {"day 21's loop": True, "fused steps": False}  # by whether it is the plain loop

Writer = Callable[[list[int], int], Sequence[int]]
Forced = Callable[[list[int], int], np.ndarray]  # from tokens: logits of the last so many positions


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """Every model, every prompt, every engine."""
    if (reason := models.why_no_peer()) is not None:
        return {"not_run": reason}
    import torch

    models.exact_float32()
    seed = int(np.random.default_rng().integers(2**31))
    rows: list[dict[str, Any]] = []
    for name, peer in models.in_transformers():
        if isinstance(peer, str):
            rows.append({"model": name, "not_run": peer})
            continue
        prompts = random_prompts(peer.config.vocab_size, seed) | (sentences() if name == models.REAL else {})
        texts = list(written(writers(models.in_engine(peer)), prompts))
        peer.float()  # the same bfloat16 weights, every activation and sum in float32
        rows += ({"model": name, **row} for row in judged(texts, prompts, functools.partial(forced, peer)))
        del peer
        torch.cuda.empty_cache()
    out = {**models.versions(), "prompt_seed": seed, "device": device.label(), "rows": rows}
    return out | ({"failed": found} if (found := why_failed(rows)) else {})


def random_prompts(vocab_size: int, seed: int) -> dict[str, list[int]]:
    """Random tokens, by what they are called."""
    rng = np.random.default_rng(seed)
    return {f"{n} random token{'s' * (n > 1)}": rng.integers(0, vocab_size, n).tolist() for n in LENGTHS}


def sentences() -> dict[str, list[int]]:
    """What people write, as the real model's tokens."""
    from engine.tokenizer import Tokenizer

    tokenizer = Tokenizer(hub.require(models.REAL))
    return {repr(text): [int(token) for token in tokenizer.encode(text)] for text in SENTENCES}


def writers(model: Any) -> dict[str, Writer]:
    """What writes greedily with a model, by name; each is made when its first text is asked for."""
    from engine.sampling import Greedy
    from engine.writing import open_writer

    @functools.cache
    def opened(plain: bool) -> Any:
        return open_writer(model, max(LENGTHS) + TOKENS, plain=plain).write

    def write(plain: bool, ids: list[int], tokens: int) -> list[int]:
        return list(opened(plain)(ids, tokens, Greedy(), ()))

    return {name: functools.partial(write, plain) for name, plain in ENGINES.items()}


def written(
    engines: Mapping[str, Writer], prompts: Mapping[str, list[int]]
) -> Iterator[tuple[str, str, Sequence[int] | str]]:
    """Engine, prompt, and the text's tokens; or why there are none: one that fails keeps nobody from writing."""
    for engine, write in engines.items():
        for label, ids in prompts.items():
            try:
                yield engine, label, write(ids, TOKENS)
            except Exception as error:
                yield engine, label, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def forced(peer: Any, ids: list[int], positions: int) -> np.ndarray:
    """Transformers' logits of the last positions of a text that it is given."""
    import torch

    with torch.no_grad():
        logits = peer(torch.tensor([ids], device=peer.device), logits_to_keep=positions).logits[0]
    return np.asarray(logits.double().cpu().numpy())


def judged(
    texts: Sequence[tuple[str, str, Sequence[int] | str]], prompts: Mapping[str, list[int]], logits_of: Forced
) -> Iterator[dict[str, Any]]:
    """Each text beside what Transformers would have chosen, given the same tokens so far."""
    for engine, label, tokens in texts:
        row = {"engine": engine, "prompt": label, "prompt_tokens": len(prompts[label])}
        if isinstance(tokens, str):
            yield {**row, "failed": tokens}
        elif len(tokens) != TOKENS:
            yield {**row, "failed": f"{len(tokens)} tokens came: expected {TOKENS}"}
        else:
            logits = logits_of([*prompts[label], *tokens[:-1]], TOKENS)
            yield {**row, **compared(tokens, logits)}


def compared(tokens: Sequence[int], logits: np.ndarray) -> dict[str, Any]:
    """How many tokens are the likeliest, how many are ties that rounding may decide, and the first that is neither.

    Args:
        tokens: that were chosen.
        logits: [tokens, vocabulary] float64, by which each should have been.
    """
    chosen = logits[np.arange(len(tokens)), list(tokens)]
    margins = logits.max(axis=1) - chosen
    allowed = np.array([budget.greedy_margin(float(np.linalg.norm(row)), logits.shape[1]) for row in logits])
    likeliest = logits.argmax(axis=1) == np.array(tokens)
    fine = likeliest & np.isfinite(margins) | (margins <= allowed)  # a NaN is neither
    out: dict[str, Any] = {
        "tokens": len(tokens), "equal": int((likeliest & fine).sum()), "ties": int((fine & ~likeliest).sum()),
        "wrong": int((~fine).sum()),
    }  # fmt: skip
    if not fine.all():
        step = int((~fine).argmax())
        out["first_wrong"] = {
            "step": step, "token": int(tokens[step]), "expected": int(logits[step].argmax()),
            "margins_allowed": _finite(margins[step] / allowed[step]),
        }  # fmt: skip
    return out


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def why_failed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why these rows are no pass, or ""."""
    failed = [row for row in rows if "failed" in row]
    wrong = sum(row.get("wrong", 0) for row in rows)
    if failed:
        return f"{len(failed)} texts were not written, the first: {failed[0]['failed']}"
    if wrong:
        return f"{wrong} tokens are not Transformers', and no ties"
    return "" if any("equal" in row for row in rows) else "no text was compared"
