"""Candidates on the device: checked against the default, then timed inside a graph."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.tuning.candidates import Machine
from engine import device
from engine.fused import chain
from engine.fused.caches import stacked_caches
from engine.fused.chain import Graph, Launch
from engine.fused.cutting import Cut, multiprocessors
from engine.fused.persistent import PersistentStep
from engine.fused.step import DecodeStep, Origin
from engine.fused.tiles import Tiles, tiles_of
from engine.fused.weights import FusedWeights, Matrix, fuse
from engine.model import Model
from engine.timing import spread, times_on_gpu

LARGEST_ERROR = 1e-5  # relative to the default's result: another order of sums, and nothing else
L2_SIZES_TO_OUTGROW = 4
REPEATS = 15
STEPS_TIMED = 64  # of a text, in one timing
PLACES = {"qkv": 0, "attention": 1, "output": 2, "gate_up": 3, "down": 4}  # of a layer's launches

Figures = dict[str, Any]


class Wrong(ValueError):  # noqa: N818  (named for what the result is)
    """A candidate computes something else than the default."""


def machine() -> Machine:
    """The device in use; the emulator plays a small GPU."""
    if device.name() == "cpu":
        return Machine(4, 64 << 10, 128 << 10)
    import cupy

    attributes = cupy.cuda.Device().attributes
    return Machine(
        multiprocessors(), device.most_shared_bytes(), int(attributes["MaxSharedMemoryPerMultiprocessor"])
    )  # fmt: skip


def l2_bytes() -> int:
    """Of the device in use; none in the emulator."""
    if device.name() == "cpu":
        return 0
    import cupy

    return int(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["l2CacheSize"])


def times(call: Callable[[], Any], stream: Any, prepare: Callable[[int], Any] = lambda _: None) -> dict[str, float]:
    """Median and quartiles of single calls, in seconds."""
    if stream is None:
        found = []
        for number in range(6):
            prepare(number)
            begin = time.perf_counter()
            call()
            found.append(time.perf_counter() - begin)
        return spread(found)
    with stream:
        return spread(times_on_gpu(call, prepare, lambda so_far: len(so_far) >= REPEATS))


class Bench:
    """A model's decode step, and what single kernels of it are tried on.

    Args:
        context: positions that attention finds in the cache.
        kind: of the weights.
    """

    def __init__(self, model: Model, kind: str, context: int) -> None:
        self.config, self.kind, self.context = model.config, kind, context
        self.capacity = context + STEPS_TIMED * 2
        self.frequencies = model.frequencies
        self.weights = fuse(model, kind)
        self.stacked = stacked_caches(model.config, self.capacity)
        self.caches = self.stacked.layers
        self.stream = chain.make_stream()
        self._rng = np.random.default_rng(0)
        for cache in self.caches:
            cache.keys[...] = self._random(*cache.keys.shape)
            cache.values[...] = self._random(*cache.values.shape)
        self._inputs: dict[str, Any] = {}
        self._expected: dict[str, np.ndarray] = {}
        self._spread_out: dict[str, FusedWeights] = {}
        self._heads: list[Any] = []  # copies of the output matrix
        with chain.on(self.stream):
            self._default = self.step({})
        self.default_cuts, self.default_splits = self._default.cuts, self._default.splits
        device.synchronize()

    def _random(self, *shape: int) -> Any:
        """Numbers of a standard normal distribution, on the device."""
        return device.to_device(self._rng.standard_normal(shape, np.float32))

    def step(self, cuts: dict[str, Cut], splits: int | None = None, weights: FusedWeights | None = None) -> DecodeStep:
        """A step with these cuts, and the default's for the other kernels."""
        weights = weights or self.weights
        caches = [self.caches[n % len(self.caches)] for n in range(len(weights.layers))]
        return DecodeStep(weights, self.frequencies, caches, splits=splits, cuts=cuts)

    # ---- single kernels ---------------------------------------------------------------------------------------------

    def spread_out(self, name: str) -> FusedWeights:
        """The weights with copies of one kernel's matrix, until they outgrow the L2 cache together."""
        if name not in self._spread_out:
            layers = list(self.weights.layers)
            sizes = [getattr(layer, name).values.nbytes for layer in layers]
            wanted = L2_SIZES_TO_OUTGROW * l2_bytes()
            while sum(sizes) < wanted:
                layer = self.weights.layers[len(layers) % len(self.weights.layers)]
                matrix = getattr(layer, name)
                layers.append(replace(layer, **{name: Matrix(matrix.values.copy(), matrix.scales)}))
                sizes.append(matrix.values.nbytes)
            self._spread_out = {name: replace(self.weights, layers=tuple(layers))}  # of one kernel at a time
        return self._spread_out[name]

    def launches(self, name: str, cut: Cut) -> tuple[DecodeStep, list[Launch]]:
        """One kernel, of every layer; of the output matrix, on as many copies as outgrow the cache."""
        if name == "head":
            step = self.step({name: cut})
            head = step.to_logits()[-1]
            matrix = self.weights.head
            copies = -(-L2_SIZES_TO_OUTGROW * l2_bytes() // matrix.values.nbytes) - 1
            if len(self._heads) < copies:
                self._heads += [matrix.values.copy() for _ in range(copies - len(self._heads))]
            others = [
                replace(head, arguments=tuple(values if a is matrix.values else a for a in head.arguments))
                for values in self._heads[: max(0, copies)]
            ]
            return step, [head, *others]
        weights = self.spread_out(name)
        step = self.step({name: cut}, weights=weights)
        return step, [step.layer(number)[PLACES[name]] for number in range(len(weights.layers))]

    def fill(self, step: DecodeStep) -> None:
        """The same random activations each time."""
        for name in ("hidden", "qkv", "inner"):
            array = getattr(step, name)
            if name not in self._inputs:
                self._inputs[name] = self._random(*array.shape)
            array[...] = self._inputs[name]
        key = f"parts of {step.splits}"
        if key not in self._inputs:
            sums = np.abs(self._rng.standard_normal(step.sums.shape, np.float32)) + np.float32(1)
            self._inputs[key] = self._random(*step.parts.shape), device.to_device(sums)
        step.parts[...], step.sums[...] = self._inputs[key]
        step.begin(self.context + 1, self.capacity, ())  # the new token's place is behind `context` others

    def kernel(self, name: str, cut: Cut, chained: bool = True) -> Figures:
        """One kernel with one cut: checked, then timed.

        Raises:
            Wrong: its result is not the default's. Or CuPy's errors, where it cannot be launched.
        """
        with chain.on(self.stream):
            step, launches = self.launches(name, cut)
            self.fill(step)
            launches[0].run()
        result = {"qkv": "qkv", "output": "hidden", "gate_up": "inner", "down": "hidden", "head": "logits"}[name]
        error = self._check(name, getattr(step, result))
        graph = step.graph(launches, self.stream, chained)
        figures = times(graph.run, self.stream)
        figures |= {k: v / len(launches) for k, v in figures.items() if k.endswith("_s")}
        values = self.weights.head.values if name == "head" else getattr(self.weights.layers[0], name).values
        return {
            "cut": cut._asdict(), "error": error, "launches": len(launches), **figures,
            "bytes_per_s": values.nbytes / figures["median_s"],
        }  # fmt: skip

    def attention(self, splits: int, chained: bool = True) -> Figures:
        """Attention in so many parts, and the output matrix that puts them together: of each layer, one after the other."""
        with chain.on(self.stream):
            step = self.step({}, splits)
            layers = [step.layer(number)[1:3] for number in range(len(self.weights.layers))]
            launches = [launch for layer in layers for launch in layer]
            self.fill(step)
            chain.run_all(layers[0])
        error = self._check("attention", step.hidden)
        graph = step.graph(launches, self.stream, chained)
        figures = times(graph.run, self.stream)
        figures |= {k: v / len(layers) for k, v in figures.items() if k.endswith("_s")}
        return {"splits": splits, "context": self.context, "error": error, **figures}

    def _check(self, what: str, got: Any) -> float:
        """How far a result is from the first one of its kind, which is the default's.

        Raises:
            Wrong: too far, or not a number.
        """
        device.synchronize()
        mine = device.to_host(got).astype(np.float64).ravel()
        expected = self._expected.setdefault(what, mine)
        error = float(np.linalg.norm(mine - expected) / np.linalg.norm(expected))
        if not error <= LARGEST_ERROR:
            raise Wrong(f"relative error {error:.1e} beside the default: expected at most {LARGEST_ERROR:.0e}")
        return error

    @functools.cached_property
    def tiles(self) -> Tiles:
        """The matrices as the persistent kernel takes them."""
        return tiles_of(self.weights)

    # ---- whole steps ------------------------------------------------------------------------------------------------

    def whole(self, cuts: dict[str, Cut], splits: int | None, steps: int, chained: bool) -> Figures:
        """Greedy steps of a text, so many in a graph: logits checked, then timed."""
        with chain.on(self.stream):
            step = self.step(cuts, splits)
        figures = self._steps(step, steps, chained)
        return {
            "cuts": {name: cut._asdict() for name, cut in cuts.items()}, "splits": step.splits, "steps": steps,
            "chained": chained, **figures,
        }  # fmt: skip

    def persistent(self, options: Mapping[str, int], steps: int) -> Figures:
        """The same as one kernel, compiled for these options."""
        step = self.persistent_step(options)
        return {"options": dict(options), "steps": steps, **self._steps(step, steps, chained=False)}

    def persistent_step(self, options: Mapping[str, int]) -> PersistentStep:
        """A step as one kernel."""
        with chain.on(self.stream):
            return PersistentStep(self.weights, self.tiles, self.frequencies, self.stacked, defines=dict(options))

    def _steps(self, step: DecodeStep, steps: int, chained: bool) -> Figures:
        with chain.on(self.stream):
            step.begin(self.context, self.capacity, ())
            step.chosen[...] = 1
            chain.run_all([step.next_token(Origin.CHOSEN), *step.to_logits()])
        error = self._check("logits", step.logits)
        graph: Graph = step.greedy(self.stream, steps, chained)
        count = STEPS_TIMED // steps if self.stream is not None else 1

        def call() -> None:
            for _ in range(count):
                graph.run()

        # A graph begins with a step of the token that is there already: its place is behind `context` others.
        figures = times(call, self.stream, lambda _: step.begin(self.context + 1, self.capacity, ()))
        figures |= {k: v / (count * steps) for k, v in figures.items() if k.endswith("_s")}
        return {"error": error, **figures, "tokens_per_s": 1 / figures["median_s"]}

    def compile_ahead(self, name: str, cuts: Sequence[Cut], threads: int) -> None:
        """Compile one kernel with several cuts at once; one that fails will fail again when its turn comes."""
        _at_once(lambda cut: self.compile(name, cut), cuts, threads)

    def compile_persistent_ahead(self, options: Sequence[Mapping[str, int]], threads: int) -> None:
        """The same, of the persistent kernel."""
        _at_once(lambda one: self.persistent_step(one).kernels, options, threads)

    def compile(self, name: str, cut: Cut) -> None:
        """Compile one kernel."""
        step = copy.copy(self._default)
        step.cuts = {**step.cuts, name: cut}
        if name == "head":
            step.to_logits()
        else:
            step.layer(0)


def _at_once(compile_one: Callable[[Any], Any], what: Sequence[Any], threads: int) -> None:
    def one(item: Any) -> None:
        try:
            if device.name() == "cuda":
                import cupy

                cupy.cuda.Device().use()
            compile_one(item)
        except Exception:
            return

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, what))
