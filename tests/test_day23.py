"""Day 23 by itself: intervals that hold the median as often as they say, runs that are asked for one by one, real memory."""

from __future__ import annotations

import itertools
import math
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import benchmark, device
from engine.benchmark import Instruments, Machine
from grader.checks import day23 as checks
from grader.curriculum import find

PAGE = (find("day23").lesson / "README.md").read_text()


def test_worked_examples():
    """The times of the drawing, the three rows of chances, and the six and nine values."""
    begin, *tokens = (float(x) for x in re.search(r"^    (0\.0 [ \d.]+) 0\.60 s$", PAGE, re.MULTILINE)[1].split())
    clock = iter([begin, *tokens])
    read = Instruments(lambda: next(clock), lambda: None, lambda: None, lambda: None)
    run = benchmark.timed(lambda _ids, n: iter(range(n)), [1], 4, read)
    assert run.first_s == float(re.search(r"time to first token +([\d.]+) s", PAGE)[1])
    assert run.token_s == pytest.approx(float(re.search(r"/ 3 = ([\d.]+) s", PAGE)[1]))
    rows = re.findall(r"^    (\d) +2 · ([^=]+?) += (\d+) of (\d+) +([\d.]+)", PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == ["5", "6", "9"]
    for n, ways, outside, of, chance in rows:
        assert int(of) == 2 ** int(n)
        assert int(outside) == 2 * sum(map(int, re.findall(r"\d+", ways)))
        assert round(1 - int(outside) / int(of), 2) == float(chance)
        left_out = {"5": None, "6": 0, "9": 1}[n]
        ends = None if left_out is None else (left_out, int(n) - 1 - left_out)
        assert benchmark.interval(range(int(n))) == ends
    six, more = re.search(
        r"^By hand: ([\d ]+) are six values and not steady. Add ([\d ]+):", PAGE, re.MULTILINE
    ).groups()
    values = [float(x) for x in six.split()]
    assert len(values) == 6
    assert not benchmark.steady(values)
    values += [float(x) for x in more.split()]
    assert benchmark.interval(values) == (99, 101)
    assert benchmark.steady(values)


@pytest.mark.parametrize("n", [6, 9, 30])
@pytest.mark.parametrize("draw", ["exponential", "standard_cauchy", "standard_normal"])
def test_the_median_lies_inside_as_often_as_it_says(n, draw):
    """2,000 times, with the true medians ln 2 and 0; chance leaves less than 93 % once in 25,000 times."""
    rng = np.random.default_rng(n)
    median = math.log(2) if draw == "exponential" else 0.0
    found = [benchmark.interval(getattr(rng, draw)(size=n).tolist()) for _ in range(2000)]
    assert sum(low <= median <= high for low, high in found) >= 0.93 * 2000


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(1e-9, 1e9), max_size=120))
def test_the_interval_is_the_oracle_s(values):
    assert benchmark.interval(values) == checks.median_between(values)
    assert benchmark.steady(values) == checks.known(values)


def test_what_comes_after_the_last_token_is_not_waited_for_nor_counted():
    machine = Machine({"comes": 3, "step": 1000})
    run = benchmark.timed(machine.go_on, [1], 9, machine.instruments())
    assert run.token_s == pytest.approx(1e-3)
    assert machine.now == 1000 + 3 * 1000  # the pass that found the stop token was made


def test_runs_are_made_when_they_are_asked_for():
    machine = Machine({})
    runs = benchmark.repeated(machine.go_on, [1], 2, machine.instruments())
    assert machine.calls == 0
    assert len(list(itertools.islice(runs, 2))) == 2
    assert machine.calls == 4  # two warm-ups
    runs.close()


def test_tokens_are_not_kept():
    """An endless text: the first token that is too many ends it."""
    taken = []

    def endless(_ids, _tokens):
        for n in itertools.count():
            taken.append(n)
            yield n

    read = Instruments(time.perf_counter, lambda: None, lambda: None, lambda: None)
    with pytest.raises(ValueError, match="more tokens came than the 5"):
        benchmark.timed(endless, [1], 5, read)
    assert taken == list(range(6))


def test_the_device_s_own_instruments(on):
    """Memory that is taken and given back is in the peak, and after a reset no longer."""
    read = benchmark.instruments()
    size, slack = 64 << 20, 1 << 20  # other memory comes and goes
    read.reset_peak()
    before = read.peak_bytes()
    if before is None:
        pytest.skip("NOT RUN: this system does not say how much memory a process takes")
    array = device.xp.ones(size // 4, np.float32)
    read.synchronize()
    del array
    assert read.peak_bytes() >= before + size - slack
    read.reset_peak()
    assert read.peak_bytes() < before + size - slack
    first, second = read.clock(), read.clock()
    assert first <= second


def test_a_system_that_says_nothing_about_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "Path", lambda path: tmp_path / path.strip("/"))
    monkeypatch.setattr(device, "_choice", "cpu")
    read = benchmark.instruments()
    read.reset_peak()
    assert read.peak_bytes() is None
