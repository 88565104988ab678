"""The right answers about text: the `tokenizers` library's, stored ones of Transformers, and a slow way to stream."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import tokenizers

from grader import awkward, goldens, models, small_tokenizer
from grader.spec import Folder, Model, Stream

Message = dict[str, Any]


def byte_alphabet() -> dict[str, int]:
    """GPT-2's `bytes_to_unicode`, turned around (openai/gpt-2, src/encoder.py)."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in kept]
    return dict(zip([chr(code) for code in [*kept, *range(256, 256 + len(moved))]], [*kept, *moved], strict=True))


@functools.cache
def _library(content: bytes) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_str(content.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _golden(model: Model, key: str, value: Any) -> dict[str, Any]:
    """The stored answers for a text, or for its ids."""
    found: dict[str, Any] = next(g for g in goldens.load("tokenizer")[model.name].values() if g[key] == value)
    return found


def encode(folder: Folder | Model, text: str, add_special_tokens: bool = True) -> list[int]:
    """Ids of a text."""
    if isinstance(folder, Model):
        ids: list[int] = _golden(folder, "text", text)["ids" if add_special_tokens else "plain_ids"]
        return ids
    return _library(folder.files["tokenizer.json"]).encode(text, add_special_tokens=add_special_tokens).ids


def decode(folder: Folder | Model, ids: list[int], skip_special_tokens: bool = False) -> str:
    """Text of ids."""
    if isinstance(folder, Model):
        text: str = _golden(folder, "ids", ids)["decoded_without_special" if skip_special_tokens else "decoded"]
        return text
    return _library(folder.files["tokenizer.json"]).decode(ids, skip_special_tokens=skip_special_tokens)


def token_bytes(_folder: Folder, token_id: int) -> bytes:
    """What the small tokenizer was made of."""
    return small_tokenizer.token_bytes()[token_id]


# ---- streaming: all of the bytes so far, anew for every id -----------------------------------------------------------


@functools.cache
def _beginnings() -> frozenset[bytes]:
    """Every beginning of a character of more than one byte. 64 neighbours differ in their last byte only."""
    codes = (code for code in range(0x80, 0x110000, 64) if not 0xD800 <= code < 0xE000)
    characters = [chr(code).encode() for code in codes]
    return frozenset(character[:size] for character in characters for size in range(1, len(character)))


def settled(data: bytes) -> str:
    """The text of some bytes, as far as no later byte can change it."""
    waiting = next((size for size in (3, 2, 1) if len(data) >= size and data[-size:] in _beginnings()), 0)
    return data[: len(data) - waiting].decode("utf-8", errors="replace")


def stream(folder: Folder | Model, ids: Stream, skip_special_tokens: bool = False) -> list[tuple[int, str]]:
    """How many ids were taken, and the text that is new."""
    hidden = small_tokenizer.special_ids() if skip_special_tokens else frozenset()
    pieces: list[tuple[int, str]] = []
    data, shown = b"", ""
    for taken, token_id in enumerate(ids.items, 1):
        data += b"" if token_id in hidden else _bytes_of(folder, token_id)
        text = settled(data)
        pieces.append((taken, text[len(shown) :]))
        shown = text
    rest = data.decode("utf-8", errors="replace")[len(shown) :]
    return [*pieces, (len(ids.items), rest)] if rest else pieces


def streams_in_turns(folder: Folder, ids: list[int], others: list[int]) -> list[list[str]]:
    """The pieces of each, as if it were alone."""
    return [[piece for _, piece in stream(folder, Stream(tuple(one)))] for one in (ids, others)]


def _bytes_of(folder: Folder | Model, token_id: int) -> bytes:
    if isinstance(folder, Folder):
        return small_tokenizer.token_bytes()[token_id]
    alphabet = _alphabet()
    return bytes(alphabet[character] for character in _model_tokens(folder)[token_id])


_alphabet = functools.cache(byte_alphabet)


@functools.cache
def _model_tokens(model: Model) -> dict[int, str]:
    """A model's vocabulary by id. SmolLM2's special tokens are ASCII: the alphabet of bytes reads them as they are."""
    content = (models.folder(model.name) / "tokenizer.json").read_text(encoding="utf-8")
    return {number: token for token, number in json.loads(content)["model"]["vocab"].items()}


# ---- conversations: what Transformers answered, with this grading's words --------------------------------------------


def with_words(value: Any, ending: str) -> Any:
    """Text, or messages, in which each of `awkward.WORDS` has an ending: fresh words for every grading."""
    if isinstance(value, str):
        return re.sub("|".join(awkward.WORDS), lambda word: word[0] + ending, value)
    if isinstance(value, dict):
        return {key: with_words(inner, ending) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_words(inner, ending) for inner in value]
    return value


def apply_chat_template(folder: Folder | Model, messages: list[Message], add_generation_prompt: bool = True) -> str:
    """The stored answer for a conversation, with its words."""
    said = json.dumps(messages)
    found = re.search(f"(?:{'|'.join(awkward.WORDS)})([a-z]*)", said)
    assert found is not None
    for name, (template, stored, prompt) in awkward.CHATS.items():
        same_folder = isinstance(folder, Model) if not template else folder == awkward.chat_folder(template)
        if same_folder and prompt == add_generation_prompt and with_words(stored, found[1]) == messages:
            text: str = with_words(goldens.load("tokenizer")["chats"][name]["text"], found[1])
            return text
    raise LookupError(f"nothing is stored for {said}")


def encode_chat(folder: Folder | Model, messages: list[Message], add_generation_prompt: bool = True) -> list[int]:
    """The ids of that text, and nothing around them."""
    if isinstance(folder, Model):
        wanted = ("", messages, add_generation_prompt)
        name = next(name for name, chat in awkward.CHATS.items() if chat == wanted)
        ids: list[int] = goldens.load("tokenizer")["chats"][name]["ids"]
        return ids
    return encode(folder, apply_chat_template(folder, messages, add_generation_prompt), False)
