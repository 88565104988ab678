"""Day 22: sampling, and what a decoding strategy is."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from engine import device
from engine.ops.argmax import argmax
from engine.ops.arguments import FLOAT32, check_array

THREADS = 512  # of a block; the kernels are compiled for this number
MAX_VOCAB = 1 << 23  # then a row's weights add up to less than 2^64
History = Sequence[Sequence[int]]  # for each row, the ids of its text so far


class DecodingStrategy(Protocol):
    """How the next token is chosen: what the loop of day 21 asks."""

    def choose(self, logits: Any, history: History, step: int) -> Any:
        """A token for each row.

        Args:
            logits: [rows, vocab] float32, on the device.
            history: for each row, the ids of its text so far.
            step: how many tokens were chosen before.

        Returns:
            [rows] int32, on the device.
        """
        ...


class Greedy:
    """The token that the model puts first."""

    def choose(self, logits: Any, history: History, step: int) -> Any:
        """See `DecodingStrategy`; history and step do not matter."""
        return argmax(logits)


def sampling_kernel(name: str) -> Any:
    """A kernel in kernel.cu: `sampling_weights`, `sampling_draw` or `sampling_bits`."""
    source = device.source_beside(__file__, "sampling.cu")
    return device.load_module(source, {"THREADS": THREADS}).get_function(name)


def check_number(name: str, value: Any, fits: bool, expected: str) -> None:
    """Refuse a setting.

    Raises:
        ValueError: names it, says what it is and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not fits:
        raise ValueError(f"{name} is {value!r}: expected {expected}")


class Sampler:
    """A token drawn at random, the likely ones more often. The filters apply in this order, which is Transformers'.

    Args:
        repetition_penalty: of tokens that are in the text, negative logits are multiplied by it and others divided.
        temperature: logits are divided by it; 0 takes the largest.
        top_k: keeps the k largest logits, and those equal to the last of them; 0 keeps all.
        top_p: keeps a token if those with larger logits have less than top_p of the probability together; 1 keeps all.
        min_p: keeps a token with at least min_p of the largest probability.
        seed: of the random numbers. The same seed, logits, history and step give the same tokens.

    Raises:
        ValueError: the message names the setting, what it is and what was expected.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
    ) -> None:
        whole = isinstance(top_k, int | np.integer)
        check_number("temperature", temperature, 0 <= temperature < np.inf, "a number of at least 0")
        check_number("top_k", top_k, whole and 0 <= top_k < 2**31, "a whole number of at least 0")
        check_number("top_p", top_p, 0 < top_p <= 1, "a number above 0, at most 1")
        check_number("min_p", min_p, 0 <= min_p <= 1, "a number from 0 to 1")
        check_number("repetition_penalty", repetition_penalty, 0 < repetition_penalty < np.inf, "a number above 0")
        whole = isinstance(seed, int | np.integer)
        check_number("seed", seed, whole and 0 <= seed < 2**64, "a whole number of at least 0, below 2^64")
        self.temperature, self.top_k, self.top_p, self.min_p = temperature, top_k, top_p, min_p
        self.repetition_penalty, self.seed = repetition_penalty, seed

    def scaled(self, logits: Any, history: History) -> Any:
        """The logits after penalty and temperature; after the penalty alone where the temperature is 0.

        Args:
            logits: [rows, vocab] float32, on the device.
            history: for each row, the ids of its text so far; a token that is in it twice gets the penalty once.

        Returns:
            A new array like logits.

        Raises:
            ValueError: see `check_arguments`.
        """
        check_arguments(logits, history)
        raise NotImplementedError("day 22: launch sampling_scale with one block for each row, and what `seen` gives")

    def weights(self, scaled: Any) -> Any:
        """What a draw is made from.

        Args:
            scaled: [rows, vocab] float32, on the device: from `scaled`.

        Returns:
            A new array, [rows, vocab] uint64: a token's probability is its weight by the row's sum. The largest is 2^40; 0 is
            filtered, or too small to count. A row without a distribution (with NaN or +inf, or of -inf alone) is all 0.
        """
        raise NotImplementedError("day 22: launch sampling_weights with one block for each row")

    def draw(self, weights: Any, step: int) -> Any:
        """A token for each row, as likely as its weight says; the host does not wait for the device.

        Args:
            weights: [rows, vocab] uint64, on the device: from `weights`.
            step: each has random numbers of its own.

        Returns:
            A new array, [rows] int32; -1 for a row of zeros.
        """
        raise NotImplementedError("day 22: launch sampling_draw with one block for each row")

    def seen(self, history: History) -> tuple[Any, Any]:
        """Token ids for the penalty, on the device: each once a row, row after row, and where each row's start."""
        counted = history if self.repetition_penalty != 1 else [[] for _ in history]
        rows = [np.unique(np.asarray(row, np.int32)) for row in counted]
        starts = np.cumsum([0, *map(len, rows)]).astype(np.int32)
        ids = np.concatenate([*rows, [0]]).astype(np.int32)  # never empty
        return device.to_device(ids), device.to_device(starts)

    def choose(self, logits: Any, history: History, step: int) -> Any:
        """See `DecodingStrategy`.

        Raises:
            ValueError: a row has no distribution; the message names `logits` and the first such row, as `row 3`. Or see
                `check_arguments`.
        """
        raise NotImplementedError("day 22: scale, weigh, draw; refuse rows without a token, by what is in the result")


def check_arguments(logits: Any, history: History) -> None:
    """Refuse what the kernels would misread. The numbers themselves are not looked at: they are on the device.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("logits", logits, ("rows", "vocab"), FLOAT32)
    rows, vocab = logits.shape
    if not 1 <= vocab <= MAX_VOCAB:
        raise ValueError(f"logits has shape {logits.shape}: expected 1 to {MAX_VOCAB} columns")
    if len(history) != rows:
        raise ValueError(f"history has {len(history)} texts: expected {rows}, one for each row of logits")
    for number, row in enumerate(history):
        if len(row) and not 0 <= min(row) <= max(row) < vocab:
            raise ValueError(f"history[{number}] has ids from {min(row)} to {max(row)}: expected 0 to {vocab - 1}")


# ---- what is graded --------------------------------------------------------------------------------------------------


def random_bits(seed: int, step: int, rows: int) -> Any:
    """The random numbers of one step: [rows] uint64, on the device."""
    out = device.xp.empty(rows, np.uint64)
    grid = (-(-rows // THREADS),)
    sampling_kernel("sampling_bits")(grid, (THREADS,), (out, np.int32(rows), np.uint64(seed), np.uint32(step)))
    return out


def weights_of(logits: Any, history: History, settings: Mapping[str, Any]) -> Any:
    """The weights of a sampler with these settings."""
    sampler = Sampler(**settings)
    return sampler.weights(sampler.scaled(logits, history))


def drawn(weights: Any, seed: int, step: int) -> Any:
    """One draw for each row of weights."""
    return Sampler(seed=seed).draw(weights, step)


def tokens_of(logits: Any, history: History, settings: Mapping[str, Any], step: int) -> Any:
    """The tokens of a sampler with these settings."""
    return Sampler(**settings).choose(logits, history, step)


def draws(logits: Any, settings: Mapping[str, Any], steps: int) -> np.ndarray:
    """How often each token is chosen, over rows and steps: [vocab] int64."""
    rows, vocab = logits.shape
    sampler, history = Sampler(**settings), [()] * rows
    chosen = [device.to_host(sampler.choose(logits, history, step)) for step in range(steps)]
    return np.bincount(np.concatenate(chosen), minlength=vocab)


def habits(logits: Any, seed: int) -> dict[str, bool]:
    """What may change tokens, and what may not: of one row of logits, many times."""
    history: list[list[int]] = [[]] * len(logits)

    def tokens(seed: int, step: int, rows: int) -> list[int]:
        return device.to_host(Sampler(seed=seed).choose(logits[:rows], history[:rows], step)).tolist()

    rows = len(logits)
    first = tokens(seed, 0, rows)
    return {
        "the same again": tokens(seed, 0, rows) == first,
        "the same with fewer rows": tokens(seed, 0, rows // 2) == first[: rows // 2],
        "others in another step": tokens(seed, 1, rows) != first,
        "others with another seed": tokens(seed + 1, 0, rows) != first,
        "a step is no other seed": tokens(seed, 1, rows) != tokens(seed + 1, 0, rows),
        "others with a seed that differs in its upper half": tokens(seed + 2**32, 0, rows) != first,
        "others in other rows": len(set(first)) > 1,
    }
