"""Day 4, tokenizer: Transformers' ids on awkward text, text that streams byte by byte, conversations in a sandbox."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import awkward, goldens, small_tokenizer, text_oracles
from grader.spec import BadInput, Case, DayChecks, Folder, Model, Stream, Task

Make = Callable[[np.random.Generator], Sequence[Any]]
MODEL = Model("smollm2-135m")
ids_of = small_tokenizer.ids_of


def given(*args: Any) -> Make:
    """The same arguments in every grading."""
    return lambda rng: args


def small() -> Folder:
    """A model's folder whose texts begin with a token, as Llama 3's do."""
    return small_tokenizer.folder(file="begins")


def shuffled(rng: np.random.Generator, texts: Sequence[str]) -> str:
    """Texts in some order, with something between them."""
    return "".join(texts[i] + str(rng.choice(["", " ", "\n", ". "])) for i in rng.permutation(len(texts)))


def all_texts(rng: np.random.Generator) -> str:
    """Every awkward text, in some order."""
    return shuffled(rng, [text for texts in awkward.TEXTS.values() for text in texts])


def library_ids(text: str) -> list[int]:
    """The small tokenizer's ids of a text."""
    return text_oracles.encode(small(), text)


def any_ids(rng: np.random.Generator, count: int) -> list[int]:
    """Ids as no text gives them: characters are cut in two, and bytes stand where they mean nothing.

    Without ED A0 to ED BF: Python's own decoder waits for one more byte there (python/cpython, issue 154520), others need not.
    """
    while True:
        ids = rng.integers(0, len(small_tokenizer.token_bytes()), count)
        if not re.search(rb"\xed[\xa0-\xbf]", b"".join(small_tokenizer.token_bytes()[i] for i in ids)):
            return ids.tolist()


# ---- the alphabet of bytes, and the bytes of a token -----------------------------------------------------------------

ALPHABET = Task(function="byte_alphabet", oracle=text_oracles.byte_alphabet, cases=[Case("256 bytes", given())])


def one_of(*tokens: bytes | str) -> Make:
    """The id of one of these tokens."""
    return lambda rng: (small(), ids_of(tokens[rng.integers(len(tokens))])[0])


TOKEN_BYTES = Task(
    function="Tokenizer.token_bytes",
    oracle=text_oracles.token_bytes,
    cases=[
        Case("token: a word after a space", one_of(" thread", " block", " warp")),
        Case("token: line breaks", one_of("\n", "\n\n", "\r\n", "\t")),
        Case("token: a character of two or three bytes", one_of("é", "日", " é", "न")),
        Case("token: half a character", one_of("日".encode()[:2], "🙂".encode()[:3], b"e\xcc")),
        Case("token: any byte", lambda rng: (small(), int(rng.integers(256)))),
        Case("token: a special one", one_of("<|end|>", "<|im_start|>")),
        Case("token: an added one, with a character that is in no byte's alphabet", one_of("<｜tool call｜>")),
    ],
    bad_input=[
        BadInput("token: an id too large", given(small(), 5000), "id 5000"),
        BadInput("token: a negative id", given(small(), -1), "id -1"),
        BadInput("token: half an id", given(small(), 2.5), "id 2.5"),
    ],
)


# ---- text to ids -----------------------------------------------------------------------------------------------------


def themed(theme: str, *more: Any) -> Make:
    """Texts of one kind."""
    return lambda rng: (small(), shuffled(rng, awkward.TEXTS[theme]), *more)


def encode_folder(**files: str | None) -> Make:
    """Files of a model's folder, some in place of others; None: without."""
    contents = {name: text.encode() for name, text in files.items() if text is not None}
    kept = {name: content for name, content in small().files.items() if name not in files}
    return given(Folder("model", kept | contents), "Hello")


ENCODE = Task(
    function="Tokenizer.encode",
    oracle=text_oracles.encode,
    cases=[
        Case("ids: words", themed("words")),
        Case("ids: words, nothing added", themed("words", False)),
        *(Case(f"ids: {theme}", themed(theme)) for theme in awkward.TEXTS if theme != "words"),
        Case("ids: no text", given(small(), "")),
        Case("ids: no text, nothing added", given(small(), "", False)),
        *(
            Case(f"ids: {name}", given(small_tokenizer.folder(**options), awkward.FRAMED))
            for name, options in awkward.FRAMES.items()
        ),
        Case("ids: 20,000 characters", lambda rng: (small(), (all_texts(rng) * 40)[:20_000])),
        Case(
            "SmolLM2: ids of every awkward text",
            given(MODEL, awkward.named_texts()["everything"]),
        ),
    ],
    bad_input=[
        BadInput("folder without tokenizer.json", encode_folder(**{"tokenizer.json": None}), "tokenizer.json"),
        BadInput("tokenizer.json is no JSON", encode_folder(**{"tokenizer.json": '{"model": '}), "tokenizer.json"),
        BadInput("tokenizer.json is empty", encode_folder(**{"tokenizer.json": ""}), "tokenizer.json"),
        BadInput(
            "tokenizer_config.json is no JSON", encode_folder(**{"tokenizer_config.json": "{,}"}), "tokenizer_config"
        ),
        BadInput(
            "tokenizer_config.json is a list", encode_folder(**{"tokenizer_config.json": "[]"}), "tokenizer_config"
        ),
        BadInput("text is bytes", given(small(), b"Hello"), "text"),
        BadInput("text with half of a surrogate pair", given(small(), "a\ud83d"), "text"),
    ],
)


# ---- ids to text -----------------------------------------------------------------------------------------------------


def split(text: str) -> list[int]:
    """The ids of a text's bytes, one by one."""
    return ids_of(*(bytes([byte]) for byte in text.encode()))


def interrupted() -> list[int]:
    """A character of four bytes with a special token after its second."""
    first, second, third, fourth = split("🙂")
    return [*ids_of("Hello"), first, second, *ids_of("<|im_end|>"), third, fourth, *ids_of(" world", "<think>")]


DECODE = Task(
    function="Tokenizer.decode",
    oracle=text_oracles.decode,
    cases=[
        Case("text: a few words", lambda rng: (small(), library_ids(shuffled(rng, awkward.TEXTS["words"])))),
        Case("text: spaces at both ends", given(small(), library_ids("  Hello the world \n "))),
        Case("text: every awkward text", lambda rng: (small(), library_ids(all_texts(rng)))),
        Case("text: special tokens hidden", lambda rng: (small(), library_ids(all_texts(rng)), True)),
        Case("text: a character around a special token", given(small(), interrupted())),
        Case("text: the same, special tokens hidden", given(small(), interrupted(), True)),
        Case("text: any ids", lambda rng: (small(), any_ids(rng, 300))),
        Case("text: no ids", given(small(), [])),
        Case(
            "SmolLM2: every awkward text",
            lambda rng: (MODEL, goldens.load("tokenizer")[MODEL.name]["everything"]["ids"]),
        ),
    ],
    bad_input=[
        BadInput("text: an id too large", given(small(), [72, 5000, 72]), "id 5000"),
        BadInput("text: a negative id", given(small(), [72, -1]), "id -1"),
    ],
)


def streamed(ids: Sequence[int], *more: Any) -> Make:
    """The same ids in every grading, one at a time."""
    return given(small(), Stream(tuple(ids)), *more)


STREAM = Task(
    function="Tokenizer.stream",
    oracle=text_oracles.stream,
    cases=[
        Case(
            "stream: a few words",
            lambda rng: (small(), Stream(tuple(library_ids(shuffled(rng, awkward.TEXTS["words"]))))),
        ),
        Case("stream: é in two ids", streamed([*split("é"), *ids_of("ing")])),
        Case("stream: 🙂 in four ids", streamed([*ids_of(" the"), *split("🙂"), *ids_of(" world")])),
        Case(
            "stream: a character and half of the next",
            streamed([*ids_of(" the", b"e\xcc", b"\x81", b" \xe2\x80"), *split("\x94")]),
        ),
        Case("stream: a real U+FFFD", streamed(ids_of("\ufffd", " the", "\ufffd"))),
        Case(
            "stream: bytes that are no character",
            streamed(ids_of(b"\x80", b"\xff", b"\xc3", "ing", b"\xe2", b"\x28", b"\xf0", b"\x80")),
        ),
        Case("stream: the end comes too early", streamed([*ids_of(" the"), *split("🙂")[:3]])),
        Case("stream: special tokens in between", streamed(interrupted())),
        Case("stream: special tokens hidden", streamed(interrupted(), True)),
        Case("stream: no ids", streamed([])),
        Case("stream: every awkward text", lambda rng: (small(), Stream(tuple(library_ids(all_texts(rng)))))),
        Case("stream: any ids", lambda rng: (small(), Stream(tuple(any_ids(rng, 300))))),
        Case(
            "stream: 400 ids",
            lambda rng: (small(), Stream(tuple(library_ids(all_texts(rng))[:400]))),
            count_costs=True,
        ),
        Case(
            "SmolLM2: awkward texts, streamed",
            lambda rng: (MODEL, Stream(tuple(goldens.load("tokenizer")[MODEL.name]["everything"]["ids"][:300]))),
        ),
    ],
    bad_input=[
        BadInput("stream: an id too large", streamed([72, 5000, 72]), "id 5000"),
        BadInput("stream: a negative id", streamed([72, -1]), "id -1"),
    ],
    cost_limits={"milliseconds": 5.0},
)


IN_TURNS = Task(
    function="streams_in_turns",
    oracle=text_oracles.streams_in_turns,
    cases=[
        Case(
            "two streams: in turns",
            given(small(), [*ids_of(" the"), *split("🙂"), *ids_of(" world")], [*split("日"), *split("é🙂")[:4]]),
        )
    ],
)


# ---- conversations ---------------------------------------------------------------------------------------------------


def conversation(golden: str) -> Make:
    """A stored conversation with fresh words."""
    template, messages, prompt = awkward.CHATS[golden]
    folder = awkward.chat_folder(template) if template else MODEL

    def make(rng: np.random.Generator) -> Sequence[Any]:
        ending = "".join(rng.choice(list("abcdefghij"), 6))
        return folder, text_oracles.with_words(messages, ending), prompt

    return make


def stored_conversation(golden: str) -> Make:
    """A stored conversation as it is: its ids were stored, too."""
    template, messages, prompt = awkward.CHATS[golden]
    return given(awkward.chat_folder(template) if template else MODEL, messages, prompt)


USER = {"role": "user", "content": "Hello wordzero"}


def with_template(template: str | None, *messages: Any, **options: Any) -> Make:
    """A conversation and a template of its own."""
    return given(small_tokenizer.folder(template=template, **options), list(messages or [USER]))


def bad_messages(*messages: Any) -> Make:
    """Messages that are none, for a template that takes all."""
    return with_template("{{ messages }}", *messages)


CHAT = Task(
    function="Tokenizer.apply_chat_template",
    oracle=text_oracles.apply_chat_template,
    cases=[
        *(Case(f"chat: {name}", conversation(name)) for name, (template, _, _) in awkward.CHATS.items() if template),
        Case("SmolLM2: one message", conversation("SmolLM2: one message")),
    ],
    bad_input=[
        BadInput(
            "chat: the template refuses",
            with_template(awkward.TEMPLATES["llama"], {"role": "cat", "content": ""}),
            "called cat",
        ),
        BadInput("chat: the template has a mistake", with_template("{% if %}"), "chat_template"),
        BadInput("chat: the template fails", with_template("{{ messages[0].content + 1 }}"), "chat_template"),
        BadInput(
            "chat: the template reaches for Python", with_template("{{ messages.__class__.__mro__ }}"), "chat_template"
        ),
        BadInput("chat: the template changes the messages", with_template("{{ messages.pop() }}"), "chat_template"),
        BadInput("chat: there is no template", with_template(None), "chat_template"),
        BadInput("chat: no messages", given(small_tokenizer.folder(template="{{ 1 }}"), []), "messages"),
        BadInput("chat: a message without a role", bad_messages(USER, {"content": "Hello"}), "messages[1]"),
        BadInput("chat: a message without content", bad_messages({"role": "user"}), "'content'"),
        BadInput("chat: content is a number", bad_messages({"role": "user", "content": 5}), "'content'"),
    ],
)

UNKNOWN_NAMES = Task(
    function="Tokenizer.apply_chat_template",
    oracle=lambda _folder, messages: messages[0]["content"],
    cases=[
        Case(
            "chat: names that nobody gives", with_template("{{ date_string }}{{ messages[0]['content'] }}{{ enough }}")
        )
    ],
)

ENCODE_CHAT = Task(
    function="Tokenizer.encode_chat",
    oracle=text_oracles.encode_chat,
    cases=[
        Case("chat ids: the template writes the first token", conversation("one message")),
        Case("chat ids: no head of an answer", conversation("no head of an answer")),
        Case("SmolLM2: ids of a conversation", stored_conversation("SmolLM2: a conversation")),
    ],
)

CHECKS = DayChecks([ALPHABET, ENCODE, TOKEN_BYTES, DECODE, STREAM, IN_TURNS, CHAT, UNKNOWN_NAMES, ENCODE_CHAT])
