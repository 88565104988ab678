"""Day 21: a model that talks: one pass over the prompt, one for each token, and text as soon as it is certain."""

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine import device
from engine.cache import check_count, make_caches
from engine.config import Config
from engine.evaluate import check_prompt
from engine.model import Model
from engine.ops.argmax import argmax
from engine.ops.forward import forward
from engine.tokenizer import Tokenizer

MOST_TOKENS = 2**31 - 1


def check_arguments(config: Config, ids: Sequence[int], max_tokens: int, capacity: int | None) -> int:
    """Refuse what cannot be generated from.

    Returns:
        The capacity of the caches: the one that was asked for, or else what the prompt and all tokens but the last take, within
        the model's context.

    Raises:
        ValueError: the prompt is empty, too long or not of this vocabulary, or the message names `max_tokens` or `capacity`.
    """
    check_prompt(ids, config.vocab_size, config.max_position_embeddings)
    check_count("max_tokens", max_tokens, 0, MOST_TOKENS)
    if capacity is None:
        return min(config.max_position_embeddings, len(ids) + max(0, max_tokens - 1))
    check_count("capacity", capacity, len(ids), config.max_position_embeddings)
    return capacity


def generate(
    model: Model,
    ids: Sequence[int],
    max_tokens: int,
    strategy: Any,
    stop_tokens: Container[int] = (),
    capacity: int | None = None,
) -> Iterator[int]:
    """Go on with a text.

    Args:
        ids: the prompt's tokens.
        max_tokens: at most so many are yielded.
        strategy: chooses, see `decode`; days 18 and 22 have some.
        stop_tokens: tokens that end the text.
        capacity: tokens that the caches have room for; default: enough.

    Returns:
        An iterator over the new tokens: see `decode`. The arguments are checked at once, before the first is asked for.

    Raises:
        ValueError: see `check_arguments`.
    """
    capacity = check_arguments(model.config, ids, max_tokens, capacity)
    return decode(model, [int(token) for token in ids], max_tokens, strategy, stop_tokens, capacity)


def decode(
    model: Model, ids: list[int], max_tokens: int, strategy: Any, stop_tokens: Container[int], capacity: int
) -> Iterator[int]:
    """The prompt in one pass, then each new token in a pass of its own, through caches of `capacity` tokens.

    Each token is chosen by `strategy.choose(logits, history, step)`, which is given

    - logits: [1, vocab_size] float32, on the device, of the last position;
    - history: a list with one list in it, of all tokens so far, those of the prompt included;
    - step: 0 for the first new token, then 1, 2, …

    and returns the token, [1] int32 on the device.

    Yields:
        Each token as soon as it is known; a pass is made only when its token is asked for. The text ends after `max_tokens`; or
        before a stop token, which is not yielded; or when the caches are full: the token that follows a full cache is yielded,
        and is the last.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 21: the prompt in one pass, then one pass for each token")
    caches = make_caches(model.config, capacity)
    history = list(ids)
    fresh = device.to_device(np.array(ids, np.int32))  # tokens that have not been through the model
    for step in range(max_tokens):
        length = caches[0].length
        positions = device.to_device(np.arange(length, length + len(fresh), dtype=np.int32))
        logits = forward(model, fresh, positions, caches, last_only=True)
        fresh = strategy.choose(logits, [history], step)
        token = int(fresh[0])
        if token in stop_tokens:
            return
        history.append(token)
        yield token
        if caches[0].length == capacity:
            return
    # solve: end


def check_stop_strings(stop_strings: Sequence[str]) -> None:
    """Refuse what no text can end at.

    Raises:
        ValueError: the message names `stop_strings`.
    """
    if isinstance(stop_strings, str) or not all(isinstance(stop, str) and stop for stop in stop_strings):
        raise ValueError(f"stop_strings is {stop_strings!r}: expected several texts, none of them empty")


def until_stop(pieces: Iterable[str], stop_strings: Sequence[str]) -> Iterator[str]:
    """A text that comes in pieces, up to the first stop string; where it was cut into pieces makes no difference.

    What may be the beginning of a stop string is withheld until it is certain. The first stop string is the one that is
    complete first; of several that are complete with the same character, the longest.

    Args:
        pieces: taken one at a time, and only when the caller wants more; none after a stop string.
        stop_strings: checked already, see `check_stop_strings`.

    Yields:
        After each piece, the text that is now certain, if there is any. After the last piece, what was withheld. Nothing of
        the stop string, and nothing behind it.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 21: yield what is certain, withhold what may begin a stop string")
    held = ""
    for piece in pieces:
        for character in piece:
            held += character
            complete = max((len(stop) for stop in stop_strings if held.endswith(stop)), default=0)
            if complete:
                if len(held) > complete:
                    yield held[:-complete]
                return
        begun = (n for stop in stop_strings for n in range(1, len(stop)) if held.endswith(stop[:n]))
        certain = len(held) - max(begun, default=0)
        if certain:
            yield held[:certain]
        held = held[certain:]
    if held:
        yield held
    # solve: end


def stream_text(
    model: Model,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    max_tokens: int,
    strategy: Any,
    stop_tokens: Container[int] = (),
    stop_strings: Sequence[str] = (),
) -> Iterator[str]:
    """Go on with a text, as text: special tokens have none, and a character comes when all of its bytes are there.

    Args:
        model, ids, max_tokens, strategy, stop_tokens: as `generate` takes them.
        tokenizer: the model's; it has `stream` (day 4).
        stop_strings: the text ends before the first of them.

    Raises:
        ValueError: see `check_arguments` and `check_stop_strings`; before the first piece is asked for.
    """
    check_stop_strings(stop_strings)
    # solve: begin
    # stub: raise NotImplementedError("day 21: tokens, their text, up to a stop string")
    tokens = generate(model, ids, max_tokens, strategy, stop_tokens)
    return until_stop(tokenizer.stream(tokens, skip_special_tokens=True), stop_strings)
    # solve: end


# ---- for the grading ------------------------------------------------------------------------------------------------


class Recorder:
    """A strategy that notes what it is asked: it takes the tokens of a script, and where that ends, the largest logit's.

    Attributes:
        asked: step, history and the logits' shape, of each call.
    """

    def __init__(self, script: Sequence[int]) -> None:
        self.script = list(script)
        self.asked: list[Any] = []

    def choose(self, logits: Any, history: Any, step: int) -> Any:
        """The next token."""
        number = len(self.asked)
        self.asked.append((step, [list(row) for row in history], tuple(logits.shape)))
        if number < len(self.script):
            return device.to_device(np.array([self.script[number]], np.int32))
        return argmax(logits)


def recorded(
    model: Model,
    ids: Sequence[int],
    max_tokens: int,
    script: Sequence[int] = (),
    stop_tokens: Sequence[int] = (),
    capacity: int | None = None,
    most: int = MOST_TOKENS,
) -> dict[str, Any]:
    """What `generate` yields when it is asked for `most` tokens, each with how often the strategy had been asked by then."""
    recorder = Recorder(script)
    tokens = generate(model, ids, max_tokens, recorder, stop_tokens, capacity)
    return {
        "tokens": [(len(recorder.asked), token) for token in itertools.islice(tokens, most)],
        "asked": recorder.asked,
    }


def greedy(model: Model, ids: Sequence[int], max_tokens: int) -> list[int]:
    """The tokens that have the largest logits."""
    return list(generate(model, ids, max_tokens, Recorder(())))


def unasked(
    model: Model, folder: Path, ids: Sequence[int], stop_tokens: Sequence[int], stop_strings: Sequence[str]
) -> list[Any]:
    """What the strategy of a `stream_text` has been asked when no piece was asked for."""
    recorder = Recorder(())
    stream_text(model, Tokenizer(folder), ids, 3, recorder, stop_tokens, stop_strings)
    return recorder.asked


def streamed(
    model: Model,
    folder: Path,
    ids: Sequence[int],
    script: Sequence[int],
    stop_tokens: Sequence[int],
    stop_strings: Sequence[str],
) -> list[Any]:
    """The pieces of `stream_text` for the tokens of a script, each with how many tokens had been chosen by then."""
    recorder = Recorder(script)
    pieces = stream_text(model, Tokenizer(folder), ids, len(script), recorder, stop_tokens, stop_strings)
    return [(len(recorder.asked), piece) for piece in pieces]
