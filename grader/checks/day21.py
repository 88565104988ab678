"""Day 21, generate: Hugging Face's greedy tokens, every end that a text can have, one pass for each token, text as it comes."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, goldens, small_tokenizer
from grader.goldens import tiny
from grader.small_tokenizer import ids_of
from grader.spec import BadInput, Case, DayChecks, Llama, Stream, Task

MODEL = "smollm2-135m"
ENDLESS = 2**40  # tokens of a context for which no cache can have room
Make = Callable[[np.random.Generator], Sequence[Any]]


# ---- as Transformers -------------------------------------------------------------------------------------------------


def certain(golden: dict[str, Any], vocabulary: int) -> int:
    """Greedy tokens up to the first whose margin is so small that rounding may decide otherwise."""
    close = budget.greedy_margin(golden["logit_norm"], vocabulary)
    return next((n for n, margin in enumerate(golden["margins"]) if margin <= close), len(golden["margins"]))


def continued(name: str, label: str, most: int = 24) -> Make:
    """A prompt whose greedy tokens from Transformers are stored."""

    def make(_rng: np.random.Generator) -> Sequence[Any]:
        golden = goldens.load(name)["prompts"][label]
        if name == MODEL:
            return Llama(pulled=MODEL), golden["ids"], min(most, certain(golden, 49152))
        fields = tiny.MODELS[name]
        return Llama(fields, tiny.weights(name)), golden["ids"], min(most, certain(golden, fields["vocab_size"]))

    return make


def stored(model: Llama, ids: list[int], max_tokens: int) -> list[int]:
    """Transformers' tokens."""
    names = [MODEL] if model.pulled else list(tiny.MODELS)
    prompts = (golden for name in names for golden in goldens.load(name)["prompts"].values())
    found: list[int] = next(golden["greedy"] for golden in prompts if golden["ids"] == ids)[:max_tokens]
    return found


GREEDY = Task(
    function="greedy",
    oracle=stored,
    cases=[
        Case("tiny Llama, 7 tokens, then as Transformers", continued("tiny-llama", "7 tokens", 12)),
        Case("tiny Qwen3, 2 tokens, then as Transformers", continued("tiny-qwen3", "2 tokens", 12)),
        Case("tiny Llama, 64 tokens, then as Transformers", continued("tiny-llama", "64 tokens", 8)),
        Case("SmolLM2-135M: the capital of France", continued(MODEL, "capital", 2)),
    ],
)


# ---- how a text ends, and what a strategy is told -------------------------------------------------------------------


def told(
    prompt: int,
    max_tokens: int,
    script: int,
    stop: Sequence[int] = (),
    capacity: int | None = None,
    most: int = 1000,
    **changed: Any,
) -> Make:
    """A random prompt, and a strategy that chooses random tokens.

    Args:
        script: tokens that the strategy has.
        stop: which of them are stop tokens, by their number in the script.
        most: tokens that are asked for.
        changed: fields of the model's configuration.
    """

    def make(rng: np.random.Generator) -> Sequence[Any]:
        fields = {**tiny.QWEN3, "num_hidden_layers": 1, **changed}
        model = Llama(fields, tiny.weights("tiny-qwen3", int(rng.integers(1000)), **changed, num_hidden_layers=1))
        ids = rng.integers(0, 100, prompt).tolist()
        tokens = rng.permutation(np.arange(100, 131))[:script].tolist()
        return model, ids, max_tokens, tokens, [tokens[n] for n in stop], capacity, most

    return make


def expected(
    model: Llama, ids: list[int], max_tokens: int, script: list[int], stop: list[int], capacity: int | None, most: int
) -> dict[str, Any]:
    """The same without a model: one question for each token that is asked for, and for a stop token."""
    fields = model.fields
    room = (capacity or fields["max_position_embeddings"]) - len(ids) + 1  # tokens that may come
    tokens: list[tuple[int, int]] = []
    asked: list[Any] = []
    while len(tokens) < min(most, max_tokens, room):
        step = len(asked)
        asked.append((step, [ids + script[:step]], (1, fields["vocab_size"])))
        if script[step] in stop:
            break
        tokens.append((len(asked), script[step]))
    return {"tokens": tokens, "asked": asked}


def refused(change: Callable[..., Sequence[Any]]) -> Make:
    """Arguments that must be refused: good ones, after a change."""
    return lambda rng: change(*told(4, 3, 3)(rng))


ENDS = Task(
    function="recorded",
    oracle=expected,
    cases=[
        Case("5 tokens and no more", told(3, 5, 9)),
        Case("0 tokens", told(3, 0, 1)),
        Case("1 token", told(1, 1, 3)),
        Case("a stop token comes fourth", told(3, 9, 9, stop=[3, 6])),
        Case("a stop token comes first", told(3, 9, 9, stop=[0])),
        Case("a stop token comes last", told(3, 4, 9, stop=[3])),
        Case("asked for 2 of 9", told(3, 9, 9, most=2)),
        Case("asked for none", told(3, 9, 9, most=0)),
        Case("the caches are full after 3", told(5, 9, 9, capacity=7)),
        Case("the prompt fills the caches", told(5, 9, 9, capacity=5)),
        Case("the context ends", told(6, 9, 9, max_position_embeddings=8)),
        Case("the prompt fills the context", told(8, 9, 9, max_position_embeddings=8)),
        Case("the context has no end", told(3, 2, 2, max_position_embeddings=ENDLESS)),
        Case("20 tokens, then 5 of 9", told(20, 9, 9, most=5, vocab_size=3000), count_costs=True),
    ],
    bad_input=[
        BadInput("no prompt", refused(lambda model, ids, *rest: (model, [], *rest)), "prompt"),
        BadInput("a token of no vocabulary", refused(lambda model, ids, *rest: (model, [1, 131], *rest)), "131"),
        BadInput("-1 tokens", refused(lambda model, ids, n, *rest: (model, ids, -1, *rest)), "max_tokens"),
        BadInput("caches that the prompt overfills", told(5, 3, 3, capacity=4), "capacity"),
        BadInput("a prompt past the context", told(9, 3, 3, max_position_embeddings=8), "context"),
    ],
    cost_limits={"global bytes": 1.1, "launches": 1.05, "shared wavefronts": 1.5},
)


# ---- text -------------------------------------------------------------------------------------------------------------


def before_stop(pieces: Sequence[str], stop_strings: Sequence[str]) -> list[tuple[int, str]]:
    """What comes after how many pieces, from the whole text: it ends where a stop string is complete first."""
    text = "".join(pieces)
    ends = {text.find(stop) + len(stop) for stop in stop_strings if stop in text}
    end = min(ends, default=len(text) + 1)
    cut = end - max((len(stop) for stop in stop_strings if text[:end].endswith(stop)), default=0) if ends else len(text)
    out, given, come = [], 0, 0
    for number, piece in enumerate(pieces, 1):
        come += len(piece)
        so_far = text[:come]
        begun = [n for stop in stop_strings for n in range(1, len(stop)) if so_far.endswith(stop[:n])]
        certain = cut if come >= end else come - max(begun, default=0)
        if certain > given:
            out.append((number, text[given:certain]))
            given = certain
        if come >= end:
            return out
    if given < len(text):
        out.append((len(pieces), text[given:]))
    return out


def cut(text: str, *stop_strings: str, sizes: int | None = 3) -> Make:
    """A text in random pieces of up to that many characters, empty ones too; None for a single one."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        pieces, at = [], 0
        while at < len(text):
            size = len(text) if sizes is None else int(rng.integers(0, sizes + 1))
            pieces.append(text[at : at + size])
            at += size
        return Stream(tuple(pieces)), list(stop_strings)

    return make


def letters(rng: np.random.Generator) -> Sequence[Any]:
    """A text of two letters, where stop strings begin all the time and are rarely complete."""
    text = "".join(rng.choice(["a", "b"], 300, p=[0.7, 0.3]))
    return cut(text, "abbabbabb", "bbbbaa", "babababb", sizes=4)(rng)


STOPS = Task(
    function="until_stop",
    oracle=lambda pieces, stops: before_stop(pieces.items, stops),
    cases=[
        Case("no stop strings", cut("The warp waits.")),
        Case("a stop string in the middle", cut("one two STOP three", "STOP")),
        Case("a stop string in one piece with all", cut("one two STOP three", "STOP", sizes=None)),
        Case("a stop string one character at a time", cut("one STOP two", "STOP", sizes=1)),
        Case("a beginning that leads nowhere", cut("one STO two STOOP ST", "STOP")),
        Case("a beginning at the very end", cut("one two STO", "STOP", sizes=2)),
        Case("it begins anew inside of itself", cut("ababababac and more", "ababac", sizes=1)),
        Case("the first of two", cut("a}b\n\nUser: c", "\n\nUser:", "}")),
        Case("one inside of the other", cut("xabcdy", "abcd", "bc", sizes=1)),
        Case("one inside of the other, in one piece", cut("xabcdy", "abcd", "bc", sizes=None)),
        Case("two that end together", cut("xyzabc", "bc", "abc", "c")),
        Case("the whole text", cut("STOP", "STOP")),
        Case("nothing at all", cut("", "STOP")),
        Case("two letters", letters),
    ],
)


def spoken(*tokens: bytes | str, stop: Sequence[str] = (), stop_strings: Sequence[str] = ()) -> Make:
    """The tokens of a script, through a model that has nothing to say in it."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        fields = {**tiny.QWEN3, "num_hidden_layers": 1, "vocab_size": len(small_tokenizer.token_bytes())}
        changed = {name: fields[name] for name in ("num_hidden_layers", "vocab_size")}
        model = Llama(fields, tiny.weights("tiny-qwen3", int(rng.integers(1000)), **changed))
        script = ids_of(*tokens)
        return model, small_tokenizer.folder(), ids_of("Hello"), script, ids_of(*stop), list(stop_strings)

    return make


def expected_text(
    _model: Any, _folder: Any, _ids: Any, script: list[int], stop: list[int], stop_strings: list[str]
) -> list[tuple[int, str]]:
    """Each token's bytes, decoded as they come; then up to a stop string."""
    utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
    asked = next((n for n, token in enumerate(script) if token in stop), len(script))
    special = small_tokenizer.special_ids()
    texts = [small_tokenizer.token_bytes()[token] * (token not in special) for token in script[:asked]]
    pieces = [utf8.decode(text) for text in texts]
    pieces.append(utf8.decode(b"", final=True))  # comes when a stop token, or the end, has been seen
    seen = min(asked + 1, len(script))
    return [(min(number, seen), text) for number, text in before_stop(pieces, stop_strings)]


TEXT = Task(
    function="streamed",
    oracle=expected_text,
    cases=[
        Case("text: Hello world", spoken("Hello", " world", "ing")),
        Case("text: up to a stop token", spoken("Hello", " world", "<|im_end|>", " the", stop=["<|im_end|>"])),
        Case("text: special tokens are not seen", spoken("<|im_start|>", "Hello", "<|im_end|>", " world")),
        Case("text: a character in four tokens", spoken(" the", *(bytes([b]) for b in "🙂".encode()), " world")),
        Case(
            "text: up to a stop string over three tokens",
            spoken("Hello", " wa", "r", "p", " of", stop_strings=["warp"]),
        ),
    ],
    bad_input=[
        BadInput("an empty stop string", spoken("Hello", stop_strings=["a", ""]), "stop_strings"),
    ],
)


def only_made(make: Make) -> Make:
    """The arguments of `unasked`, from those of `streamed`."""

    def cut(rng: np.random.Generator) -> Sequence[Any]:
        model, folder, ids, _script, stop, stop_strings = make(rng)
        return model, folder, ids, stop, stop_strings

    return cut


def no_prompt(rng: np.random.Generator) -> Sequence[Any]:
    """A text that begins with nothing."""
    model, folder, _ids, *rest = only_made(spoken("Hello"))(rng)
    return model, folder, [], *rest


UNASKED = Task(
    function="unasked",
    oracle=lambda *_: [],
    cases=[Case("text: no piece is asked for", only_made(spoken("Hello", stop_strings=["STOP"])))],
    bad_input=[
        BadInput("an empty stop string, no piece asked for", only_made(spoken(stop_strings=[""])), "stop_strings"),
        BadInput("no prompt, no piece asked for", no_prompt, "prompt"),
    ],
)

CHECKS = DayChecks([GREEDY, ENDS, STOPS, TEXT, UNASKED])
