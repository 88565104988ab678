"""The oracles of text: right by another way, and the small tokenizer is what it says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader import awkward, goldens, small_tokenizer, text_oracles
from grader.spec import Stream

FOLDER = small_tokenizer.folder(file="begins")
CONTINUATIONS = [
    bytes(more)
    for size in (1, 2, 3)
    for more in itertools.product((0x61, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF), repeat=size)
]
any_bytes = st.lists(st.sampled_from(b"a\xc0\xc3\x80\x90\xa0\xe0\xe2\xed\xef\xbf\xbd\xf0\x9f\xf4\xff"), max_size=6).map(
    bytes
)


@settings(max_examples=300, deadline=None)
@given(data=any_bytes)
def test_settled_text_is_what_every_continuation_leaves_and_no_less(data):
    ways = [(data + more).decode(errors="replace") for more in CONTINUATIONS]
    shown = text_oracles.settled(data)
    assert all(way.startswith(shown) for way in ways)
    assert len({way[len(shown)] for way in ways}) > 1


def test_the_small_tokenizer_has_the_tokens_it_says():
    library = text_oracles._library(FOLDER.files["tokenizer.json"])
    tokens = small_tokenizer.token_bytes()
    assert library.get_vocab_size() == len(tokens) == len(set(tokens))
    for number, token in enumerate(tokens):
        assert library.decode([number], skip_special_tokens=False) == token.decode(errors="replace")
    assert all(text_oracles.decode(FOLDER, [number], True) == "" for number in small_tokenizer.special_ids())


def test_its_tokens_cut_characters_in_two():
    used = {number for golden in goldens.load("tokenizer")["small"].values() for number in golden["ids"]}
    broken = [small_tokenizer.token_bytes()[number] for number in used]
    broken = [token for token in broken if "\ufffd" in token.decode(errors="replace")]
    assert any(len(token) == 1 for token in broken)
    assert any(text_oracles.settled(token) not in ("", "\ufffd") for token in broken)  # whole characters before a half


@pytest.mark.parametrize("skip", [False, True])
def test_streamed_pieces_join_to_the_librarys_text(skip):
    for golden in goldens.load("tokenizer")["small"].values():
        pieces = text_oracles.stream(FOLDER, Stream(tuple(golden["ids"])), skip)
        assert "".join(piece for _, piece in pieces) == text_oracles.decode(FOLDER, golden["ids"], skip)


@pytest.mark.parametrize("name", [name for name, (template, _, _) in awkward.CHATS.items() if template])
@pytest.mark.parametrize("ending", ["", "abc"])
def test_conversations_with_other_words(name, ending):
    template, messages, prompt = awkward.CHATS[name]
    folder = awkward.chat_folder(template)
    text = text_oracles.apply_chat_template(folder, text_oracles.with_words(messages, ending), prompt)
    stored = goldens.load("tokenizer")["chats"][name]
    assert ending in text
    assert any(f"{word}{ending}" in text for word in awkward.WORDS)
    assert (text == stored["text"]) == (ending == "")
    assert text_oracles.encode_chat(folder, messages, prompt) == stored["ids"]
