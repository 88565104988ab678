"""Text to token ids and back: byte-level BPE, the chat template, and text that comes while the model still speaks."""

from __future__ import annotations

# solve: begin
import codecs

# solve: end
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2.ext
import jinja2.sandbox

from engine import tokenizer_files

Message = Mapping[str, Any]  # "role" and "content", and what else the template understands


# solve: begin
@functools.cache
# solve: end
def byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in a vocabulary.

    A vocabulary is a list of strings, but a token is bytes, and they may be half a character. So each byte has a character
    that can be printed. Bytes 33 to 126, 161 to 172 and 174 to 255 are printable in Latin-1 and stand for themselves. The 68
    others, in ascending order, are characters 256, 257, 258, …

    Returns:
        256 entries, from character to byte. Source: GPT-2 (openai/gpt-2, src/encoder.py, `bytes_to_unicode`).
    """
    # solve: begin
    # stub: raise NotImplementedError("day 4: map 256 characters to the bytes that they stand for")
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet |= {chr(256 + place): byte for place, byte in enumerate(others)}
    return alphabet
    # solve: end


class Tokenizer:
    """The tokenizer of a model: byte-level BPE, as Llama 3 and SmolLM2 have it.

    Args:
        folder: with tokenizer.json; with tokenizer_config.json and chat_template.jinja where the model has them.

    Attributes:
        files: what the folder says: the library's tokenizer, added and special tokens, the chat template.

    Raises:
        ValueError: a file is missing, broken, or of a kind that is not read here; the message names it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.files = tokenizer_files.load(folder)

    # ---- text to ids ------------------------------------------------------------------------------------------------

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The ids of a text, from the library: `self.files.library.encode`.

        Special tokens that are written out in the text become their ids, whoever wrote it. Bytes for which the vocabulary has
        no token are dropped.

        Args:
            text: any text, the empty one too.
            add_special_tokens: put around it what this model wants there: for Llama 3 the token that begins a text, for SmolLM2
                nothing.

        Raises:
            ValueError: `text` is no str, or has half of a surrogate pair in it.
        """
        tokenizer_files.check_text(text)
        # solve: begin
        # stub: raise NotImplementedError("day 4: let the library encode the text")
        ids: list[int] = self.files.library.encode(text, add_special_tokens=add_special_tokens).ids
        return ids
        # solve: end

    # ---- ids to text ------------------------------------------------------------------------------------------------

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for.

        Added tokens (`self.files.added`, special tokens among them) stand for their text as it is. All others are written in
        the alphabet of `byte_alphabet`.

        Raises:
            ValueError: the id is no token's (`self.files.token` sees to it).
        """
        # solve: begin
        # stub: raise NotImplementedError("day 4: turn a token into the bytes that it stands for")
        token = self.files.token(token_id)
        if token_id in self.files.added:
            return token.encode()
        alphabet = byte_alphabet()
        return bytes(alphabet[character] for character in token)
        # solve: end

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of ids; bytes that are no character come as U+FFFD.

        Args:
            ids: any number of them, in order.
            skip_special_tokens: special tokens have no text.

        Raises:
            ValueError: an id is no token's.
        """
        # solve: begin
        # stub: raise NotImplementedError("day 4: the text of all ids")
        return "".join(self.stream(ids, skip_special_tokens))
        # solve: end

    def stream(self, ids: Iterable[int], skip_special_tokens: bool = False) -> Iterator[str]:
        """The text of ids that are still being made.

        Args:
            ids: taken one at a time, and only when the caller wants the next piece.
            skip_special_tokens: special tokens (`self.files.special_ids`) have no text.

        Yields:
            For each id, as soon as it is taken, the text that it completes: "" where that is none. Bytes that begin a character
            wait for the rest of it. Bytes that can no longer become a character come as U+FFFD at once. After the last id, one
            more piece if bytes still wait: they come as U+FFFD. Joined, the pieces are the text of all ids. Streams of one
            tokenizer can run side by side, and one that is left in the middle leaves nothing behind.

        Raises:
            ValueError: an id is no token's.
        """
        # solve: begin
        # stub: raise NotImplementedError("day 4: yield what each id completes")
        utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for token_id in ids:
            skipped = skip_special_tokens and token_id in self.files.special_ids
            yield utf8.decode(b"" if skipped else self.token_bytes(token_id))
        rest = utf8.decode(b"", final=True)
        if rest:
            yield rest
        # solve: end

    # ---- conversations ------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _template(self) -> jinja2.Template:
        """The chat template, compiled once."""
        assert self.files.template is not None
        return chat_environment().from_string(self.files.template)

    def apply_chat_template(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """A conversation as one text, in the form that the model was trained on.

        The template (`self._template`) is given `messages`, `add_generation_prompt`, `tools` and `documents` (both None: there
        are none here) and the special tokens under their roles, such as `bos_token` (`self.files.special_tokens`).

        Args:
            messages: at least one, each with a "role" and a "content"; they stay as they are.
            add_generation_prompt: end with the head of the assistant's answer, which the model then writes.

        Raises:
            ValueError: these are no messages, there is no template, or it fails in whatever way. The message names
                `self.files.template_file` and the field `chat_template`.
        """
        messages = tokenizer_files.check_messages(messages)
        if self.files.template is None:
            raise ValueError(f"{self.files.template_file}: chat_template is missing: the model knows no conversations")
        # solve: begin
        # stub: raise NotImplementedError("day 4: render the chat template")
        given = {"messages": messages, "add_generation_prompt": add_generation_prompt, "tools": None, "documents": None}
        try:
            return self._template.render({**self.files.special_tokens, **given})
        except Exception as error:  # a template is code that came with the model: it can raise anything
            raise ValueError(f"{self.files.template_file}: chat_template: {type(error).__name__}: {error}") from error
        # solve: end

    def encode_chat(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
        """The ids of a conversation. The template has written every special token already.

        Args:
            messages, add_generation_prompt: as `apply_chat_template` takes them.

        Raises:
            ValueError: see `apply_chat_template` and `encode`.
        """
        # solve: begin
        # stub: raise NotImplementedError("day 4: the ids of the rendered conversation")
        return self.encode(self.apply_chat_template(messages, add_generation_prompt), add_special_tokens=False)
        # solve: end


# ---- what a chat template is run in -----------------------------------------------------------------------------------


def chat_environment() -> jinja2.Environment:
    """Jinja as chat templates expect it (transformers, utils/chat_template_utils.py).

    A template is code from the internet: it may neither reach Python's inner parts nor change what it is given, which is why
    `jinja2.sandbox` exists. A block that stands alone in a line leaves nothing of that line: `lstrip_blocks` takes the blanks
    before it, `trim_blocks` the newline after it. Templates use the extensions `jinja2.ext.loopcontrols` (break, continue)
    and `GenerationBlock`, the filter `tojson`, and the globals `raise_exception` and `strftime_now`.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 4: the environment in which templates run")
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, GenerationBlock]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)
    return environment
    # solve: end


class GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}` … `{% endgeneration %}` marks what the assistant says, for training; here it is its body."""

    tags = {"generation"}  # noqa: RUF012  (as Jinja wants it)

    def parse(self, parser: Any) -> Any:
        """The body, in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as `json.dumps` writes it: Jinja's own filter escapes it for HTML pages."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    """How a template refuses a conversation."""
    raise jinja2.TemplateError(message)


def strftime_now(form: str) -> str:
    """The date or time of now, in that format."""
    return datetime.now().strftime(form)


# ---- for the grading ------------------------------------------------------------------------------------------------


def streams_in_turns(folder: str | Path, ids: Sequence[int], others: Sequence[int]) -> list[list[str]]:
    """The pieces of two streams of one tokenizer, taken in turns."""
    tokenizer = Tokenizer(folder)
    pieces: tuple[list[str], list[str]] = ([], [])
    for turn in itertools.zip_longest(tokenizer.stream(ids), tokenizer.stream(others)):
        for mine, piece in zip(pieces, turn, strict=True):
            mine += [] if piece is None else [piece]
    return list(pieces)
