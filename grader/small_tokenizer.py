"""A tokenizer small enough to be made for every grading: byte-level BPE, all 256 bytes, some longer tokens, no download.

Its tokens are chosen, not trained: whole words, halves of characters, a character and half of the next one.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from grader.spec import Folder

# Each is a token, and so is every beginning of it: the merges add one byte at a time.
_PIECES = [
    *(word.encode() for word in (" thread", " block", " warp", " the", " of", " in", "Hello", " world", "ing", "ion")),
    *(
        text.encode()
        for text in ("  ", "    ", "\n\n", "\r\n", "():", " =", "ll", "'t", "é", " é", " €", "日本", "語", "न", "ا")
    ),
    *(text.encode() for text in ("🙂", "👩", "\u200d", "\ufe0f", "\ufffd", "e\u0301", "a\u0300", "—", " “")),
]
SPECIAL = ("<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>")
OTHER_ADDED = ("<｜tool call｜>", "<think>")  # not special; the first is in no byte's alphabet
BEGIN, END = "<|begin|>", "<|end|>"


@functools.cache
def token_bytes() -> tuple[bytes, ...]:
    """The bytes of every token, by id."""
    tokens = [bytes([byte]) for byte in range(256)]
    for piece in _PIECES:
        tokens += [piece[:size] for size in range(2, len(piece) + 1)]
    return (*dict.fromkeys(tokens), *(token.encode() for token in (*SPECIAL, *OTHER_ADDED)))


def ids_of(*tokens: bytes | str) -> list[int]:
    """The ids of tokens, given by their bytes."""
    return [token_bytes().index(token.encode() if isinstance(token, str) else token) for token in tokens]


def special_ids() -> frozenset[int]:
    """The ids of the special tokens."""
    return frozenset(ids_of(*SPECIAL))


def _stand_ins(token: bytes) -> str:
    """A token in the byte-level alphabet, from GPT-2's rule."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return "".join(chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in token)


@functools.cache
def _tokenizer_json() -> str:
    """The file without anything that stands around a text."""
    tokens = [_stand_ins(token) for token in token_bytes()[: -len(SPECIAL + OTHER_ADDED)]]
    merges = [(token[:-1], token[-1]) for token in tokens if len(token) > 1]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in OTHER_ADDED])
    return tokenizer.to_str(pretty=False)


def begins_texts() -> dict[str, Any]:
    """What stands around a text in Llama 3's tokenizer.json: the token of the beginning in front."""
    tokenizer = Tokenizer.from_str(_tokenizer_json())
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    found: dict[str, Any] = json.loads(tokenizer.to_str())["post_processor"]
    return found


def folder(
    *, file: str = "", template: str | None = None, extra: dict[str, str] | None = None, **config: Any
) -> Folder:
    """A model's folder with this tokenizer.

    Args:
        file: what tokenizer.json does beside: `begins` (a token in front of every text), `truncates` (it cuts texts off after
            eight tokens and pads them to twelve), or nothing.
        template: a chat template, in tokenizer_config.json.
        extra: more files, or others in place of these: name and text.
        config: more of tokenizer_config.json.
    """
    content = json.loads(_tokenizer_json())
    if file == "begins":
        content["post_processor"] = begins_texts()
    if file == "truncates":
        content["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
        content["padding"] = {
            "strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "!",
        }  # fmt: skip
    said: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN}
    said["eos_token"] = {"__type": "AddedToken", "content": END, "special": True}
    if template is not None:
        said["chat_template"] = template
    texts = {"tokenizer.json": json.dumps(content), "tokenizer_config.json": json.dumps(said | config)}
    return Folder("model", {name: text.encode() for name, text in (texts | (extra or {})).items()})
