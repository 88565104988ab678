"""Day 25 by itself: the worked example, digits beside exact fractions, and a page that does not depend on any order."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine import bench_report
from engine.checkpoint import Entry, Figure, Notes, aligned, rate, ratio, shown, speed_table, speed_up
from grader import checkpoint_oracles
from grader.checks import day25
from grader.curriculum import find
from tests import lessons

PAGE = (find("day25").lesson / "README.md").read_text()
LOOP, YOURS, CLOSE = Figure(48, 50, 54), Figure(24, 25, 27), Figure(49, 51, 53)


def test_the_worked_example():
    words = " ".join(PAGE.split())
    assert shown(LOOP) == "50 ± 3"
    assert "write 50 ± 3" in words
    assert shown(rate(LOOP.times(1e-3))) == "20 ± 1"
    assert "The spread is 1.16: 20 ± 1" in words
    assert (rate(LOOP.times(1e-3)).high - rate(LOOP.times(1e-3)).low) / 2 == pytest.approx(1.16, abs=0.005)
    rows = [ratio(LOOP, YOURS), ratio(LOOP, CLOSE)]
    for label, values in {"least": [r.low for r in rows], "most": [r.high for r in rows]}.items():
        assert lessons.example_row(find("day25"), label) == pytest.approx(values, abs=0.005), label
    texts = [speed_up(LOOP, one, Notes()) for one in (YOURS, CLOSE)]
    assert re.search(rf"^    shown +{re.escape(texts[0])} +{re.escape(texts[1])}$", PAGE, re.MULTILINE)


@lessons.randomly(500)
@given(median=st.floats(1e-9, 1e9), down=st.floats(0, 0.99), up=st.floats(0, 100))
def test_digits_are_those_of_exact_fractions(median, down, up):
    figure = (median * (1 - down), median, median * (1 + up))
    spread = (figure[2] - figure[0]) / 2
    assume(all(abs(np.log10(x) - np.round(np.log10(x))) > 1e-9 for x in (median, *([spread] if spread else []))))
    text = shown(Figure(*figure))
    assert [text] == checkpoint_oracles.shown_all([figure])
    value, _, plus_minus = text.replace(",", "").partition(" ± ")
    assert float(value) > 0
    assert not plus_minus or float(plus_minus) > 0


def test_any_order_gives_the_same_bytes():
    listed = day25.together(np.random.default_rng(5))
    pages = {speed_table([Entry(*one) for one in order], "loop") for order in itertools.permutations(listed)}
    assert len(pages) == 1
    (page,) = pages
    assert "!" not in page
    assert page.count("**a CPU, 2 cores**") == page.count("**NVIDIA X1**") == 1
    assert "`python -m engine bench m --weights int8` makes its record" in page
    assert "no record of this machine" in page


def test_every_cell_of_a_page_says_something():
    page = speed_table([Entry(*one) for one in day25.gaps(np.random.default_rng(2))[0]], "loop")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    assert len({len("".join(row)) for row in rows}) == 1
    for row in rows[2:]:
        assert all(re.fullmatch(r" +(NOT RUN \(\d+\)|[\w,.]+( ± [\d,.]+)?( ~)?( \*)?) +", cell) for cell in row), row
        assert not any(cell.strip() == "0" for cell in row)


def test_bars_are_escaped():
    assert aligned(["engine", "n"], [["a|b", "1"]]) == ["| engine |   n |", "| ------ | --: |", "| a\\|b   |   1 |"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"date": "today"}, "mine: date is 'today'"),
        ({"command": None}, "mine: command is None: expected a str"),
        ({"tokens": 1}, "mine: tokens is 1: expected 2 or more"),
        ({"rows": [{"prompt_tokens": 4, "not_run": "x"}] * 2}, r"mine: prompt_tokens are \[4, 4\]"),
    ],
)
def test_what_is_no_record_is_refused(change, words):
    record = day25.record(np.random.default_rng(1)) | change
    with pytest.raises(ValueError, match=words):
        speed_table([Entry("mine", record)], "mine")


def test_what_bench_writes_is_read():
    """The keys of a row of `engine bench`, measured or not, are the ones that the lesson asks for."""
    from engine.benchmark import Run, summary
    from engine.config import parse
    from grader.goldens import tiny

    runs = [Run(8, 0.5 + n / 100, 0.02 + n / 1e4, 1 << 20) for n in range(6)]
    subject = bench_report.Subject(lambda _ids, _tokens: iter(()), "plain", parse(tiny.LLAMA), 1000)
    rows = [bench_report.Row(4, summary(runs)), bench_report.Row(9, not_run="too long")]
    record = day25.record(
        np.random.default_rng(1), rows=[bench_report.figures(row, subject, None, None) for row in rows]
    )
    page = speed_table([Entry("loop", record)], "loop")
    assert "530 ± 10" in page or "520 ± 10" in page
    assert "NOT RUN: (1) too long" in page
    assert f"- loop: `{record['command']}`, {record['date']}" in page
