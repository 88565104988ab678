"""The commands of `python -m engine` that let a model write: `generate` and `chat`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.commands import Device, Model, Prompt, errors, open_model, prompt_text

if TYPE_CHECKING:
    from engine.sampling import DecodingStrategy

MaxTokens = Annotated[int, typer.Option("--max-tokens", min=0, help="the answer's length, at most")]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0.0, help="how bold: 0 always takes the likeliest token")
]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="only from the K likeliest tokens; 0: from all")]
TopP = Annotated[float, typer.Option("--top-p", help="only from the likeliest tokens that make up this probability")]
MinP = Annotated[float, typer.Option("--min-p", help="only tokens at least this times as likely as the likeliest")]
Penalty = Annotated[float, typer.Option("--repetition-penalty", help="above 1: tokens of the text so far come less")]
Greedy = Annotated[bool, typer.Option("--greedy", help="always the likeliest token")]
Seed = Annotated[int, typer.Option("--seed", help="the same seed gives the same answer")]
Weights = Annotated[
    str, typer.Option("--weights", help="bfloat16, or int8: half the bytes, quantized as they are loaded")
]
Mine = Annotated[bool, typer.Option("--mine", help="run on your own pieces, of every day that you have passed")]

MOST_OF_A_CHAT = 16384  # tokens that the cache has room for, where the model's context is longer
HELP = """/help   this
/reset  forget the conversation
/quit   leave; so does the end of the input
Ctrl-C  stops an answer"""


def strategy(greedy: bool, **options: Any) -> DecodingStrategy:
    """How tokens are chosen.

    Args:
        options: as `engine.sampling.Sampler` takes them.

    Raises:
        ValueError: an option is out of its range; the message names it.
    """
    from engine.sampling import Greedy, Sampler

    return Greedy() if greedy else Sampler(**options)


@dataclass
class Answer:
    """What a model said, and when.

    Attributes:
        ids: the tokens so far.
        times: of each token, seconds from the start.
        finish: what ended it, once it has ended.
    """

    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    text: str = ""
    finish: str = "stop string"  # the tokens are not asked for any more

    @property
    def tokens_per_s(self) -> float | None:
        """Of the decode steps; None for fewer than two tokens."""
        if len(self.times) < 2 or self.times[-1] <= self.times[0]:
            return None
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])


def speak(
    answer: Answer,
    writer: Any,
    model: Any,
    tokenizer: Any,
    ids: Sequence[int],
    max_tokens: int,
    chooser: Any,
    stop_strings: Sequence[str],
    show: Callable[[str], None],
) -> None:
    """Let a model go on with a text, up to one of its stop tokens.

    Args:
        answer: an empty one; it grows with each token, so that something is left where Ctrl-C interrupts.
        writer: gives the tokens, see `engine.writing.open_writer`.
        show: gets each piece of the text as it comes.

    Raises:
        ValueError: see `engine.generate`.
    """
    from engine import generate

    generate.check_stop_strings(stop_strings)
    begin = time.perf_counter()
    tokens = writer.write(ids, max_tokens, chooser, stop_tokens_of(model, tokenizer))

    def heard() -> Iterator[int]:
        for token in tokens:
            answer.times.append(time.perf_counter() - begin)
            answer.ids.append(token)
            yield token
        full = len(ids) + len(answer.ids) > model.config.max_position_embeddings
        answer.finish = "max tokens" if len(answer.ids) == max_tokens else "context" if full else "stop token"

    for piece in generate.until_stop(tokenizer.stream(heard(), skip_special_tokens=True), stop_strings):
        answer.text += piece
        show(piece)


def stop_tokens_of(model: Any, tokenizer: Any) -> list[int]:
    """The tokens at which this model ends a text, from both of its configurations."""
    named = tokenizer.files.special_tokens.get("eos_token")
    other = tokenizer.files.library.token_to_id(named) if named else None
    return sorted({*model.config.eos_token_ids, *(() if other is None else (other,))})


def use_pieces(mine: bool) -> None:
    """Let the engine run on the learner's pieces, before it starts.

    Raises:
        ValueError: they cannot be used.
    """
    from engine import pieces

    if not mine:
        return
    try:
        found = pieces.learners()
        pieces.install(found)
    except pieces.PieceError as error:
        raise ValueError(f"--mine: {error}") from error
    names = ", ".join(sorted(found)) or "none yet: python -m grader says which days have passed"
    print(f"your pieces: {names}", file=sys.stderr)


def write(piece: str) -> None:
    """A piece of an answer, at once."""
    sys.stdout.write(piece)
    sys.stdout.flush()


def generate(
    name: Model,
    prompt: Prompt,
    max_tokens: MaxTokens = 100,
    temperature: Temperature = 0.7,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: Penalty = 1.0,
    greedy: Greedy = False,
    seed: Seed = 0,
    weights: Weights = "bfloat16",
    stop: Annotated[list[str] | None, typer.Option("--stop", help="end before this text; may be given again")] = None,
    mine: Mine = False,
    device_name: Device = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Go on with a text."""
    with errors():
        use_pieces(mine)
        chooser = strategy(
            greedy, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
            repetition_penalty=repetition_penalty, seed=seed,
        )  # fmt: skip
        begin = time.perf_counter()
        from engine.writing import open_writer

        _, tokenizer, model = open_model(name, device_name)
        loaded = time.perf_counter() - begin
        ids = tokenizer.encode(prompt_text(prompt))
        writer = open_writer(model, max(1, len(ids) + max_tokens), weights, plain=mine)
        answer = Answer()
        speak(
            answer, writer, model, tokenizer, ids, max_tokens, chooser, stop or [],
            (lambda piece: None) if as_json else write,
        )  # fmt: skip
    from engine import device, pieces

    if as_json:
        print(json.dumps({
            "text": answer.text, "ids": answer.ids, "prompt_ids": ids, "finish": answer.finish, "device": device.label(),
            "seed": None if greedy else seed, "load_s": loaded, "token_s": answer.times,
            "tokens_per_s": answer.tokens_per_s, "engine": writer.kind, "weights": weights, "pieces": pieces.in_use(),
        }))  # fmt: skip
        return
    print()
    print(summary(answer, device.label()), file=sys.stderr)


def summary(answer: Answer, label: str) -> str:
    """One line about an answer."""
    words = [f"{len(answer.ids)} token{'' if len(answer.ids) == 1 else 's'}", f"ended by {answer.finish}"]
    if answer.times:
        words.append(f"first after {answer.times[0]:.2f} s")
    if answer.tokens_per_s is not None:
        words.append(f"then {answer.tokens_per_s:.1f} tokens/s")
    return f"{', '.join(words)}, on {label}"


def chat(
    name: Model,
    system: Annotated[str, typer.Option("--system", help="what the model is told before the conversation")] = "",
    max_tokens: MaxTokens = 400,
    temperature: Temperature = 0.7,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: Penalty = 1.0,
    greedy: Greedy = False,
    seed: Seed = 0,
    weights: Weights = "bfloat16",
    mine: Mine = False,
    device_name: Device = "",
) -> None:
    """Talk with a model. Ctrl-C stops an answer, /quit leaves."""
    with errors():
        use_pieces(mine)
        chooser = strategy(
            greedy, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
            repetition_penalty=repetition_penalty, seed=seed,
        )  # fmt: skip
        from engine.writing import open_writer

        _, tokenizer, model = open_model(name, device_name)
        beginning = [{"role": "system", "content": system}] if system else []
        tokenizer.apply_chat_template([*beginning, {"role": "user", "content": "?"}])  # a model without one, at once
        writer = open_writer(model, MOST_OF_A_CHAT, weights, plain=mine)
    from engine import device

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (lines can be edited and come back with the arrow keys)
    print(f"{name} on {device.label()}; /help says what there is", file=sys.stderr)
    messages = list(beginning)
    for line in lines():
        if line == "/quit":
            return
        if line == "/reset":
            messages = list(beginning)
            print("a new conversation", file=sys.stderr)
        elif line == "/help":
            print(HELP, file=sys.stderr)
        elif line.startswith("/"):
            print(f"{line.split()[0]} is no command; /help says which there are", file=sys.stderr)
        elif line:
            said = reply(writer, model, tokenizer, [*messages, {"role": "user", "content": line}], max_tokens, chooser)
            if said is not None:
                messages += [{"role": "user", "content": line}, {"role": "assistant", "content": said}]


def lines() -> Iterator[str]:
    """What the user types, until the input ends; Ctrl-C drops a line."""
    while True:
        try:
            yield input("> ").strip()
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            print("\n/quit leaves", file=sys.stderr)


def reply(
    writer: Any, model: Any, tokenizer: Any, messages: Sequence[dict[str, str]], max_tokens: int, chooser: Any
) -> str | None:
    """The model's turn, written as it comes; None where it could not be asked."""
    answer = Answer()
    try:
        ids = tokenizer.encode_chat(messages)
        speak(answer, writer, model, tokenizer, ids, max_tokens, chooser, [], write)
    except KeyboardInterrupt:
        write(" …")
    except ValueError as error:
        print(f"error: {error}; /reset begins anew", file=sys.stderr)
        return None
    print()
    return answer.text


def register(app: typer.Typer) -> None:
    """Put these commands into an application."""
    for command in (generate, chat):
        app.command()(command)
