"""The fast engine with a stream, as on a GPU, played in the emulator: graphs recorded once, steps launched ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine import device
from engine.fused import batch, chain, prefill, rows
from engine.fused.batch import BatchEngine
from engine.fused.engine import AHEAD, STEPS_OF_A_GRAPH, FusedEngine
from engine.fused.prefill import Prefill
from engine.sampling import Sampler
from tests.engine.fused_models import WIDE, ids_of, make_model

CAPACITY = 20


class PlayedStream:
    """Work has ended when it is given; what is given between `begin_capture` and `end_capture` becomes a graph instead."""

    done = True

    def __init__(self) -> None:
        self.recorded: list[Callable[[], Any]] | None = None
        self.graphs, self.works = 0, True

    def __enter__(self) -> PlayedStream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def begin_capture(self) -> None:
        self.recorded = []

    def end_capture(self) -> PlayedGraph:
        recorded, self.recorded = self.recorded, None
        assert recorded, "a graph of nothing"
        return PlayedGraph(recorded)

    def give(self, work: Callable[[], Any]) -> None:
        if self.recorded is None:
            work()
        else:
            self.recorded.append(work)


class PlayedGraph:
    def __init__(self, recorded: list[Callable[[], Any]]) -> None:
        self.recorded = recorded

    def launch(self, stream: PlayedStream) -> None:
        stream.graphs += 1
        for work in self.recorded if stream.works else ():
            work()


@pytest.fixture
def stream(on_cpu):
    """The stream of every engine that is made."""
    played = PlayedStream()
    launch, product = chain.Launch.run, rows.product
    on_cpu.setattr(chain, "make_stream", lambda: played)
    on_cpu.setattr(chain.Launch, "run", lambda one: played.give(lambda: launch(one)))
    for module in (rows, batch, prefill):
        on_cpu.setattr(module, "product", lambda *arguments: played.give(lambda: product(*arguments)))
    return played


def engines(stream: PlayedStream, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[FusedEngine, FusedEngine]:
    """One of a model with the stream, and one of the same without; prompts go through the same kernels."""
    model = make_model("tiny-llama", **WIDE)
    ahead = FusedEngine(model, CAPACITY, **options)
    assert ahead.stream is stream
    monkeypatch.setattr(chain, "make_stream", lambda: None)
    alone = FusedEngine(model, CAPACITY, **options)
    alone._prefill = Prefill(alone.step.weights, alone.step.turns, alone.caches)
    return ahead, alone


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_steps_ahead_write_the_same(stream, monkeypatch, weights):
    ahead, alone = engines(stream, monkeypatch, weights=weights)
    for prompt in (1, CAPACITY // 2, CAPACITY):
        ids = ids_of(prompt, 259)
        stream.graphs = 0
        whole = list(ahead.generate(ids, 100))
        assert whole == list(alone.generate(ids, 100))
        assert len(whole) == CAPACITY + 1 - prompt
        assert stream.graphs == -(-len(whole) // STEPS_OF_A_GRAPH)
        stop = whole[len(whole) // 2]
        assert list(ahead.generate(ids, 100, stop_tokens=[stop])) == whole[: whole.index(stop)]
        assert list(ahead.generate(ids, 5)) == whole[:5]


def test_so_many_steps_are_launched_before_the_first_token_is_read(stream, monkeypatch):
    ahead, _ = engines(stream, monkeypatch)
    tokens = ahead.generate([1, 2, 3], 15)
    next(tokens)
    assert stream.graphs == AHEAD // STEPS_OF_A_GRAPH
    tokens.close()
    assert list(ahead.generate([4], 3)) == list(ahead.generate([4], 9))[:3]


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_samplers_draw_the_same(stream, monkeypatch, penalty):
    ahead, alone = engines(stream, monkeypatch)
    strategy = Sampler(seed=4, repetition_penalty=penalty)
    ids = ids_of(6, 259)
    assert list(ahead.generate(ids, 9, strategy)) == list(alone.generate(ids, 9, strategy))


def test_a_batch_replays_its_step(stream):
    model = make_model("tiny-llama", **WIDE)
    prompts = [ids_of(9, 259), ids_of(5, 259), [7]]
    together = BatchEngine(model, 3, CAPACITY)
    alone = [list(FusedEngine(model, CAPACITY).generate(prompt, 100)) for prompt in prompts]
    for most in (100, 3):  # the second time the graph is there already
        steps = list(together.generate_batch(prompts, most))
        mine = [[step[text] for step in steps if step[text] is not None] for text in range(3)]
        assert mine == [tokens[:most] for tokens in alone]


def test_a_device_that_stops_is_not_waited_for(stream):
    engine, together = FusedEngine(make_model("tiny-llama"), 8), BatchEngine(make_model("tiny-llama"), 2, 8)
    stream.works = False
    with pytest.raises(RuntimeError, match="without the token of step 0"):
        next(engine.generate([1, 2], 5))
    with pytest.raises(RuntimeError, match="without token 0 of text 0"):
        next(together.generate_batch([[1], [2, 3]], 5))


def test_the_checker_finds_nothing_in_steps_past_the_end(stream):
    model = make_model("tiny-llama")
    device.select("cpu", check=True)
    assert len(list(FusedEngine(model, 6).generate([1, 2, 3], 100))) == 4  # of two graphs' eight steps


def test_the_checker_finds_nothing_where_blocks_share_a_text(stream):
    model = make_model("tiny-llama")
    device.select("cpu", check=True)
    engine = BatchEngine(model, 2, 12)
    assert engine.splits > 1
    assert engine.slices > 1
    assert len(list(engine.generate_batch([[1, 2, 3], [4]], 3))) == 3
    assert not device.to_host(engine.tickets).any(), "the last block leaves the tickets as it found them"
