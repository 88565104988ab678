"""What day 4's page says: its worked examples, number by number."""

from __future__ import annotations

import re

from tokenizers import Tokenizer as Library
from tokenizers import models

from engine import hub
from grader.curriculum import find
from tests import lessons

DAY = find("day04")
SPEC = (DAY.lesson / "README.md").read_text()
LESSON = lessons.load(DAY)


def row(label: str, after: str = "") -> list[str]:
    """The cells behind a label, the first time it stands behind some text."""
    found = re.search(rf"^    {label}  +(.*)$", SPEC[SPEC.index(after) :], re.MULTILINE)
    assert found, label
    return re.split(r"\s{2,}", found[1].strip())


def test_pairs_are_joined_in_their_order():
    letters = {token: number for number, token in enumerate(["h", "e", "l", "o", "ll", "he", "hell"])}
    pairs = [tuple(pair.split()) for pair in re.findall(r"\d\. `(\w+ \w+)`", SPEC)]
    assert len(pairs) == 3
    for count, label in enumerate(["hello", "pair 1", "pair 2", "pair 3"]):
        tokens = Library(models.BPE(letters, pairs[:count])).encode("hello").tokens
        assert tokens == [cell for cell in row(label) if cell != "two tokens"]
    assert len(tokens) == 2


def test_bits_and_bytes_of_the_characters():
    for character in "eé日🙂":
        bits, data = row(character)
        assert bits.split() == [f"{byte:08b}" for byte in character.encode()]
        assert data == character.encode().hex(" ")


def test_stand_ins():
    alphabet = LESSON.byte_alphabet()
    assert [f"{alphabet[character]:02x}" for character in row("written")] == row("bytes", "188 bytes")
    moved = [byte for character, byte in sorted(alphabet.items()) if ord(character) >= 256]
    assert (len(alphabet) - len(moved), len(moved), moved.index(32) + 1) == (188, 68, 33)


def test_smollm2_says_japan():
    after = "Now watch"
    ids = [int(cell) for cell in row("id", after)]
    data = [bytes.fromhex(cell) for cell in row("bytes", after)]
    alphabet = LESSON.byte_alphabet()
    assert [bytes(alphabet[c] for c in token) for token in row("token", after)] == data
    assert b"".join(data).decode() == "日本"
    assert row("waiting", after) == ["e6 97", "-", "-"]
    assert row("piece", after) == ["nothing", "日", "本"]
    folder = hub.find("smollm2-135m")
    if folder is not None:
        tokenizer = LESSON.Tokenizer(folder)
        assert tokenizer.encode("日本") == ids
        assert [tokenizer.token_bytes(number) for number in ids] == data
        assert list(tokenizer.stream(ids)) == ["", "日", "本"]
