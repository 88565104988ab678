"""What a model's folder says about its tokenizer, read and checked; `engine/tokenizer.py` works with it."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

TOKENIZER, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


@dataclass(frozen=True)
class TokenizerFiles:
    """The contents of tokenizer.json, tokenizer_config.json and chat_template.jinja.

    Attributes:
        path: tokenizer.json.
        library: its tokenizer in the library `tokenizers`. It alone says what stands around a text: Transformers 5 does not ask
            tokenizer_config.json's `add_bos_token` where there is a tokenizer.json (tokenization_utils_base.py).
        added: id and text of the tokens that stand beside the byte pairs, special or not.
        special_ids: ids of the special ones.
        special_tokens: role and text of those that tokenizer_config.json names: `bos_token`, `eos_token` and so on.
        template_file: where the chat template stands.
        template: the chat template, or None.
    """

    path: Path
    library: Any
    added: Mapping[int, str]
    special_ids: frozenset[int]
    special_tokens: Mapping[str, str]
    template_file: Path
    template: str | None

    def token(self, token_id: int) -> str:
        """What tokenizer.json has under an id.

        Raises:
            ValueError: nothing, or the id is no whole number.
        """
        try:
            number = operator.index(token_id)
        except TypeError as error:
            raise ValueError(f"id {token_id!r} is {type(token_id).__name__}: expected a whole number") from error
        found: str | None = self.library.id_to_token(number) if 0 <= number < 2**32 else None
        if found is None:
            raise ValueError(f"id {number} is not in {self.path}, which has {self.library.get_vocab_size():,} tokens")
        return found


def load(folder: str | Path) -> TokenizerFiles:
    """Read a model's folder.

    Raises:
        ValueError: a file is missing, broken, or of a kind that is not read here; the message names it.
    """
    folder = Path(folder)
    library = _library(folder / TOKENIZER)
    config = _object(folder / CONFIG)
    added = library.get_added_tokens_decoder()
    template_file, template = _chat_template(folder, config)
    return TokenizerFiles(
        path=folder / TOKENIZER,
        library=library,
        added={number: token.content for number, token in added.items()},
        special_ids=frozenset(number for number, token in added.items() if token.special),
        special_tokens=_special_tokens(config),
        template_file=template_file,
        template=template,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _object(path: Path) -> dict[str, Any]:
    """A JSON object from a file; an empty one where there is no file."""
    if not path.exists():
        return {}
    try:
        found = json.loads(_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if type(found) is not dict:
        raise ValueError(f"{path}: holds {type(found).__name__}: expected an object")
    return found


def _library(path: Path) -> Any:
    """The library's tokenizer, set to encode texts whole."""
    text = _text(path)
    try:
        library = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more special
        raise ValueError(f"{path}: not a tokenizer: {error}") from error
    kind = type(library.decoder).__name__
    if kind != "ByteLevel":
        raise ValueError(f"{path}: decoder is {kind}: expected ByteLevel (byte-level BPE)")
    library.no_truncation()
    library.no_padding()
    return library


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        role: value.get("content") if isinstance(value, dict) else value
        for role, value in config.items()
        if role.endswith("_token")
    }
    return {role: text for role, text in texts.items() if isinstance(text, str)}


def _chat_template(folder: Path, config: Mapping[str, Any]) -> tuple[Path, str | None]:
    if (folder / TEMPLATE).exists():
        return folder / TEMPLATE, _text(folder / TEMPLATE)
    found = config.get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}.get("default")
    return folder / CONFIG, found if isinstance(found, str) else None


# ---- arguments -------------------------------------------------------------------------------------------------------


def check_text(text: str) -> None:
    """Refuse what is no text.

    Raises:
        ValueError: no str, or one with half of a surrogate pair in it, as JSON's escapes can make them.
    """
    if not isinstance(text, str):
        raise ValueError(f"text is {type(text).__name__}: expected str")  # noqa: TRY004  (all bad input is a ValueError)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise ValueError(f"text has {half} at {error.start}: half of a surrogate pair is no character") from error


def check_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of messages, without keys that are None: templates ask whether a key is there.

    Raises:
        ValueError: no list of at least one message, or a message without a role or a content that is str.
    """
    if not isinstance(messages, list | tuple) or not messages:
        raise ValueError(f"messages is {messages!r}: expected a list of at least one message")
    for place, message in enumerate(messages):
        for key in ("role", "content"):
            value = message.get(key) if isinstance(message, Mapping) else None
            if not isinstance(value, str):
                seen = f"messages[{place}] is {message!r}"
                raise ValueError(f"{seen}: expected a dict with a str under {key!r}")  # noqa: TRY004  (as above)
    return [{key: value for key, value in message.items() if value is not None} for message in messages]
