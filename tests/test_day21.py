"""Day 21 by itself: stop strings for any text and any cut; checks before the first token; a text that is left early."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import config, device, generate
from engine.model import Model, assemble
from grader import goldens
from grader.checks import day21 as checks
from grader.goldens import tiny

TEXTS = st.text("ab", max_size=30)
STOPS = st.lists(st.text("ab", min_size=1, max_size=6), max_size=3)


@pytest.fixture
def model(on) -> Model:
    return assemble(config.parse(tiny.QWEN3), {n: device.to_device(w) for n, w in tiny.weights("tiny-qwen3").items()})


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, stops=STOPS, cuts=st.lists(st.integers(0, 30), max_size=8))
@example(text="xabcd", stops=["abcd", "bc"], cuts=[])
def test_where_the_text_is_cut_makes_no_difference(text, stops, cuts):
    edges = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    got = list(generate.until_stop(pieces, stops))
    assert "".join(got) == "".join(generate.until_stop(text, stops))  # a piece for each character
    assert "".join(got) == "".join(text for _, text in checks.before_stop(pieces, stops))
    assert all(got)
    assert not any(stop in "".join(got) for stop in stops)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, stops=STOPS)
def test_no_more_is_withheld_than_must_be(text, stops):
    """After each character: what came out, and the longest end of the text so far that a stop string begins with."""
    came = ""
    taken = iter(text)
    so_far = []

    def pieces():
        for character in taken:
            if so_far:
                held = "".join(so_far)[len(came) :]
                assert not held or any(stop.startswith(held) for stop in stops)
            so_far.append(character)
            yield character

    for piece in generate.until_stop(pieces(), stops):
        came += piece


def test_arguments_are_checked_before_the_first_token_is_asked_for(model):
    strategy = generate.Recorder(())
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate.generate(model, [], 3, strategy)
    with pytest.raises(ValueError, match="capacity is 2: expected a whole number from 3 to 256"):
        generate.generate(model, [1, 2, 3], 3, strategy, capacity=2)
    with pytest.raises(ValueError, match="max_tokens is -1"):
        generate.generate(model, [1], -1, strategy)
    for stops in ("STOP", ["a", ""], [3]):
        with pytest.raises(ValueError, match="stop_strings is"):
            generate.stream_text(model, None, [1], 3, strategy, stop_strings=stops)
    assert strategy.asked == []


def test_a_text_that_is_left_early_costs_what_was_read(model):
    strategy = generate.Recorder(())
    tokens = generate.generate(model, [1, 2, 3], 100, strategy)
    assert strategy.asked == []
    next(tokens)
    next(tokens)
    tokens.close()
    assert len(strategy.asked) == 2


def test_two_texts_at_once_do_not_mix(model):
    prompts = [goldens.load("tiny-qwen3")["prompts"][label] for label in ("7 tokens", "33 tokens")]
    texts = [generate.generate(model, p["ids"], 5, generate.Recorder(())) for p in prompts]
    pairs = list(zip(*texts, strict=True))
    assert [list(tokens) for tokens in zip(*pairs, strict=True)] == [p["greedy"][:5] for p in prompts]


def test_a_numpy_prompt_is_a_prompt(model):
    golden = goldens.load("tiny-qwen3")["prompts"]["2 tokens"]
    tokens = list(generate.generate(model, np.array(golden["ids"]), 3, generate.Recorder(())))
    assert tokens == golden["greedy"][:3]
    assert all(type(token) is int for token in tokens)


def test_the_caches_are_no_larger_than_they_must_be(model):
    def capacity(ids, tokens):
        return generate.check_arguments(model.config, ids, tokens, None)

    assert capacity([1, 2, 3], 4) == 6  # the last token goes through no pass
    assert capacity([1, 2, 3], 0) == capacity([1, 2, 3], 1) == 3
    assert capacity([1] * 256, 1000) == capacity([1], 1000) == 256  # the context
