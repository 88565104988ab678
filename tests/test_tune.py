"""The sweep of cuts without a GPU: which candidates there are, what happens to bad ones, and all of it once in the emulator."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

from benchmarks import record, tune
from benchmarks.tuning import candidates, trials, worker
from benchmarks.tuning.candidates import Machine, Matrix
from engine import config, device
from engine.fused import cutting
from engine.fused.cutting import Cut
from tests.engine.fused_models import WIDE, make_model
from tests.test_repository import check_record

H200 = Machine(132, 232_448, 233_472)
LLAMA = {
    "qkv": (3072, 2048),
    "output": (2048, 2048),
    "gate_up": (16384, 2048),
    "down": (2048, 8192),
    "head": (128256, 2048),
}
TIME = {"median_s": 2e-6, "quartile1_s": 1e-6, "quartile3_s": 3e-6, "repeats": 15}


@pytest.fixture(autouse=True)
def started_as_a_script(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(record.REPOSITORY / "benchmarks" / "tune.py")])


# ---- candidates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", candidates.KERNELS)
def test_candidates_fit_and_are_all_different(name, kind):
    rows, columns = LLAMA[name]
    matrix = Matrix(rows, columns, 2 if name == "gate_up" else 1)
    default = cutting.balanced(rows, columns, kind, 132, matrix.least_span)
    found = candidates.cuts(matrix, kind, H200, default)
    assert found[0] == default
    assert len(set(found)) == len(found) > 30
    for cut in found[1:]:
        blocks = -(-cut.grid // 132)
        assert rows % cut.span == 0
        assert cut.span >= matrix.least_span
        assert blocks * (cut.ring_bytes + 4 * columns) < 228 << 10
        assert blocks * 32 * cut.warps <= 2048
        assert cut == cutting.make_cut(
            rows, columns, kind, cut.grid, warps=cut.warps, span=cut.span, depth=cut.depth
        )  # what the kernel is compiled for
    promises = [candidates.promise(cut, matrix, H200) for cut in found[1:]]
    assert promises == sorted(promises, reverse=True)
    assert {cut.grid > 132 for cut in found[1:]} == {True, False}
    assert {cut.warps for cut in found} >= {4, 8, 16}


def test_what_a_kernel_goes_over_is_what_a_step_cuts(on_cpu):
    model = make_model("tiny-llama", **WIDE)
    bench = trials.Bench(model, "bfloat16", 8)
    for name, matrix in candidates.matrices(model.config).items():
        assert bench.default_cuts[name] == cutting.cut(matrix.rows, matrix.columns, "bfloat16", matrix.least_span), name
        weights = bench.weights.head if name == "head" else getattr(bench.weights.layers[0], name)
        assert weights.values.shape == (matrix.rows, matrix.columns)


def test_a_ring_that_is_too_large_does_not_fit():
    matrix = Matrix(2048, 8192, 1)
    assert candidates.fits(Cut(132, 8, 2, 4, 96 << 10), matrix.columns, H200)
    assert not candidates.fits(Cut(132, 8, 2, 12, 200 << 10), matrix.columns, H200)
    assert not candidates.fits(Cut(264, 8, 2, 4, 96 << 10), matrix.columns, H200)
    assert not candidates.fits(Cut(396, 24, 2, 1, 8 << 10), matrix.columns, H200)


def test_more_bytes_on_their_way_and_fewer_idle_warps_promise_more():
    matrix = Matrix(2048, 2048, 1)
    full, short, idle = Cut(132, 8, 2, 4, 64 << 10), Cut(132, 8, 2, 1, 16 << 10), Cut(132, 10, 2, 4, 64 << 10)
    assert candidates.promise(full, matrix, H200) > candidates.promise(short, matrix, H200)
    assert candidates.promise(full, matrix, H200) > candidates.promise(idle, matrix, H200)
    assert candidates.promise(full, matrix, H200) > candidates.promise(Cut(64, 16, 2, 2, 128 << 10), matrix, H200)


def test_every_stage_gets_its_share():
    stages = (("a", 1.0), ("b", 3.0))
    assert candidates.shares(stages, 100) == 25
    assert candidates.shares(stages[1:], 80) == 80


# ---- in the emulator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_kernels_and_steps_are_checked_and_timed(on_cpu, kind):
    bench = trials.Bench(make_model("tiny-llama", **WIDE), kind, 8)
    for name, cut in bench.default_cuts.items():
        first = bench.kernel(name, cut)
        assert first["error"] == 0
        assert first["launches"] == (1 if name == "head" else 3)
        assert first["bytes_per_s"] > 0
        span = 1 if name == "head" else 2
        matrix = candidates.matrices(bench.config)[name]
        other = cutting.make_cut(matrix.rows, matrix.columns, kind, 3, warps=2, span=span, depth=2)
        assert bench.kernel(name, other)["error"] < 1e-6
    assert bench.attention(bench.default_splits)["error"] == 0
    assert 0 < bench.attention(3)["error"] < 1e-6
    cut = cutting.make_cut(96, 208, kind, 3, warps=2, span=2, depth=2)
    usual = bench.whole({}, None, 1, True)
    assert usual["error"] == 0
    got = bench.whole({"down": cut}, 2, 4, False)
    assert 0 < got["error"] < 1e-6
    assert (got["cuts"]["down"]["grid"], got["splits"], got["steps"], got["chained"]) == (3, 2, 4, False)
    assert bench.whole({}, None, 1, True)["error"] == 0  # what was timed in between has left the text as it was


def test_another_result_is_not_timed(on_cpu):
    bench = trials.Bench(make_model("tiny-llama", **WIDE), "bfloat16", 8)
    on_cpu.setattr(trials, "times", lambda *_: TIME)
    bench.kernel("down", bench.default_cuts["down"])
    on_cpu.setattr(trials, "times", lambda *_: pytest.fail("it was timed"))
    for spoilt in (1.0, np.nan):
        bench.weights.layers[0].down.values[5, 7] = spoilt
        with pytest.raises(trials.Wrong, match="relative error"):
            bench.kernel("down", bench.default_cuts["down"])


def test_weights_outgrow_the_cache(on_cpu):
    on_cpu.setattr(trials, "l2_bytes", lambda: 100_000)
    bench = trials.Bench(make_model("tiny-llama", **WIDE), "bfloat16", 8)
    for name in ("qkv", "head"):
        got = bench.kernel(name, bench.default_cuts[name])
        each = 2 * {"qkv": 192 * 96, "head": 259 * 96}[name]
        assert got["launches"] * each >= 400_000 > (got["launches"] - 1) * each
        assert got["error"] == 0
    matrices = {id(layer.qkv.values) for layer in bench.spread_out("qkv").layers}
    assert len(matrices) == len(bench.spread_out("qkv").layers)


# ---- trials ----------------------------------------------------------------------------------------------------------------


class FakeBench:
    """Kernels that take longer the more warps a block has, steps that take what their cuts do; some fail."""

    kind, context, default_splits = "bfloat16", 8, 4
    config = config.parse({**make_model.__globals__["fields_of"]("tiny-llama", **WIDE)})

    def __init__(self, failing=(), broken=()):
        sizes = candidates.matrices(self.config)
        self.default_cuts = {
            name: cutting.make_cut(one.rows, one.columns, "bfloat16", 4, warps=8, span=one.least_span, depth=1)
            for name, one in sizes.items()
        }
        self.failing, self.broken, self.compiled, self.alive = set(failing), set(broken), [], True

    def kernel(self, name, cut):
        if cut.warps in self.failing:
            raise MemoryError("too much shared memory\nand more")
        if cut.warps in self.broken:
            self.alive = False
            raise RuntimeError("an illegal memory access was encountered")
        return {"cut": cut._asdict(), "error": 0.0, **TIME, "median_s": (cut.warps + cut.span / 10) * 1e-6}

    def attention(self, splits):
        return {"splits": splits, "error": 0.0, **TIME, "median_s": abs(splits - 8) * 1e-6 + 1e-6}

    def whole(self, cuts, splits, steps, chained):
        warps = sum({**self.default_cuts, **cuts}[name].warps for name in candidates.KERNELS)
        late = abs(splits - 8) + 5 / steps + 10 * (not chained)
        return {
            "cuts": {name: cut._asdict() for name, cut in cuts.items()}, "splits": splits, "steps": steps,
            "chained": chained, "error": 0.0, **TIME, "median_s": (warps + late) * 1e-6, "tokens_per_s": 1.0,
        }  # fmt: skip

    def compile_ahead(self, name, cuts, threads):
        self.compiled.append((name, len(cuts), threads))


@pytest.fixture
def alive(on_cpu):
    """The device answers as long as this bench does."""
    benches: list[FakeBench] = []

    def synchronize():
        if benches and not benches[-1].alive:
            raise RuntimeError("cudaErrorIllegalAddress")

    on_cpu.setattr(device, "synchronize", synchronize)
    return benches


def make_trials(bench, said, **job) -> worker.Trials:
    return worker.Trials(bench, {"done": [], "results": {}, "threads": 8, **job}, said.append)


def test_bad_candidates_keep_nobody_from_being_tried(alive):
    bench, said = FakeBench(failing={4, 6}), []
    sweep = make_trials(bench, said)
    sweep.kernel("down", lambda: True)
    results = sweep.results["down"]
    failed = [one for one in results if "failed" in one]
    assert {one["failed"] for one in failed} == {"MemoryError: too much shared memory"}
    assert 0 < len(failed) < len(results)
    assert said[0] == {"trying": results[0]["key"], "stage": "down"}
    assert said[1]["result"]["cut"] == bench.default_cuts["down"]._asdict()
    assert [line["result"]["key"] for line in said[1::2]] == [one["key"] for one in results]
    assert all(count <= worker.AT_ONCE and threads == 8 for _, count, threads in bench.compiled)


def test_a_candidate_that_breaks_the_device_ends_the_process(alive):
    bench, said = FakeBench(broken={6}), []
    alive.append(bench)
    sweep = make_trials(bench, said)
    with pytest.raises(worker.BrokenDeviceError, match="cudaErrorIllegalAddress"):
        sweep.kernel("down", lambda: True)
    assert "illegal memory access" in said[-1]["result"]["failed"]  # it is said before the end


def test_what_an_earlier_process_has_tried_is_not_tried_again(alive):
    said: list[dict] = []
    first = make_trials(FakeBench(), said)
    first.kernel("qkv", lambda: True)
    done = [one["key"] for one in first.results["qkv"]]
    again, told = make_trials(FakeBench(), [], done=done[:5], results={"qkv": first.results["qkv"][:5]}), []
    again._say = told.append
    again.kernel("qkv", lambda: True)
    assert [line["result"]["key"] for line in told[1::2]] == done[5:]
    assert [one["key"] for one in again.results["qkv"]] == done


def test_without_the_default_there_is_nothing_to_compare_with(alive):
    bench, said = FakeBench(failing={8}), []
    sweep = make_trials(bench, said)
    sweep.kernel("down", lambda: True)
    assert len(sweep.results["down"]) == 1
    assert "failed" in sweep.results["down"][0]


def test_time_ends_a_stage(alive):
    sweep = make_trials(FakeBench(), [])
    left = iter([True] * 4 + [False] * 100)
    sweep.kernel("down", lambda: next(left))
    assert len(sweep.results["down"]) == 4  # the default, and what there was time for
    sweep.attention(lambda: False)
    assert len(sweep.results["attention"]) == 1


def test_whole_steps_find_what_is_best_of_each(alive):
    sweep = make_trials(FakeBench(), [])
    for name in candidates.KERNELS:
        sweep.kernel(name, lambda: True)
        assert sweep.better(name)[0].warps == 4
    sweep.attention(lambda: True)
    sweep.steps(lambda: True)
    keys = [one["key"] for one in sweep.results["steps"]]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "4 parts, 4 steps a graph, chained"
    (best,) = candidates.best(sweep.results["steps"], 1)
    assert (best["splits"], best["steps"], best["chained"]) == (8, 8, True)
    assert {cut["warps"] for cut in best["cuts"].values()} == {4}
    assert {one["chained"] for one in sweep.results["steps"]} == {True, False}
    assert {one["steps"] for one in sweep.results["steps"]} == {1, 4, 8}


# ---- the command -----------------------------------------------------------------------------------------------------------


MACHINE = {"gpu": "NVIDIA X1", "cpu": "c", "cores": 2, "python": "3.12"}


def result(key: str, median_s: float = 1e-6, **more) -> dict:
    return {
        "key": key,
        "error": 0.0,
        **TIME,
        "median_s": median_s,
        "quartile1_s": median_s,
        "quartile3_s": median_s,
        **more,
    }


class Processes:
    """What processes say, one after the other, and how they end."""

    def __init__(self, *plans) -> None:
        self.plans, self.jobs = list(plans), []

    def __call__(self, job, seconds, heard):
        self.jobs.append(json.loads(json.dumps(job)))
        lines, end = self.plans.pop(0)
        for line in [{"machine": MACHINE}, {"default": {"cuts": {}, "splits": 4}}, *lines] if lines is not None else []:
            heard(line)
        return end


def read(folder, name: str = "tune") -> dict:
    return json.loads((folder / "nvidia-x1" / f"{name}.json").read_text())


def test_a_sweep_goes_on_after_a_crash(tmp_path, capsys):
    def tried(stage, key):
        return [{"trying": key, "stage": stage}, {"stage": stage, "result": result(key)}]

    processes = Processes(
        ([*tried("qkv", "a"), {"trying": "b", "stage": "qkv"}], "its process ended with status -11: bye"),
        (
            [
                *tried("qkv", "c"),
                *tried("steps", "d"),
                {"stage": "steps", "result": result("e", 5e-7, tokens_per_s=2e6)},
            ],
            None,
        ),
    )
    assert tune.main(["--out", str(tmp_path)], start=processes) == 0
    got = read(tmp_path)
    check_record(json.dumps(got))
    assert got["results"]["qkv"][1] == {"key": "b", "failed": "its process ended with status -11: bye"}
    assert [job["done"] for job in processes.jobs] == [[], ["a", "b"]]
    assert [job["threads"] for job in processes.jobs] == [8, 1]
    assert got["best"] == ["e", "d"]
    printed = capsys.readouterr().out
    assert "qkv: 3 candidates, 1 of them failed" in printed
    assert "2,000,000 tokens/s: e" in printed


def test_a_crash_while_several_are_compiled_is_tried_again_one_by_one(tmp_path):
    processes = Processes(([], "it ended"), ([], None))
    assert tune.main(["--out", str(tmp_path)], start=processes) == 0
    assert [job["threads"] for job in processes.jobs] == [8, 1]


def test_crashes_do_not_go_on_for_ever(tmp_path):
    crash = ([{"trying": "x", "stage": "qkv"}], "it ended")
    processes = Processes(*[crash] * 20)
    assert tune.main(["--out", str(tmp_path)], start=processes) == 0
    assert len(processes.jobs) == 1 + tune.MOST_RESTARTS
    assert len(read(tmp_path)["results"]["qkv"]) == 1


@pytest.mark.parametrize(
    ("lines", "end", "said"),
    [([{"not_run": "no GPU answers"}], None, "no GPU answers"), (None, "it ended with status 1: oh", "status 1: oh")],
)
def test_without_a_gpu_nothing_is_run(tmp_path, capsys, lines, end, said):
    assert tune.main(["--out", str(tmp_path)], start=Processes((lines, end))) == 4
    assert said in capsys.readouterr().err


def test_records_have_names_of_their_own(tmp_path):
    for arguments, name in (
        (["--weights", "int8"], "tune-int8"),
        (["--model", "smollm2-135m"], "tune-smollm2-135m"),
    ):
        assert tune.main([*arguments, "--out", str(tmp_path)], start=Processes(([], None))) == 0
        assert read(tmp_path, name)["weights"] == ("int8" if "int8" in name else "bfloat16")
    with pytest.raises(SystemExit):
        tune.main(["--rehearse"])


def test_a_worker_runs_all_stages(on_cpu, tmp_path):
    """Without compiling much: every stage tries its default, and has no time for more."""
    from safetensors.numpy import save_file

    from grader.goldens import tiny

    (tmp_path / "config.json").write_text(json.dumps({**tiny.LLAMA, **WIDE}))
    save_file(tiny.weights("tiny-llama", **WIDE), tmp_path / "model.safetensors")
    said: list[dict] = []
    job = {
        "model": f"{tmp_path}/", "weights": "bfloat16", "context": 8, "device": "cpu", "seconds": 0.0, "threads": 1,
        "done": [], "results": {},
    }  # fmt: skip
    worker.run(job, said.append)
    assert [line["stage"] for line in said if "result" in line] == [name for name, _ in worker.STAGES]
    assert all("failed" not in line["result"] for line in said if "result" in line)
    assert "machine" in said[0]
    assert said[1]["default"]["splits"] == 1
    assert dataclasses.is_dataclass(trials.machine())


def test_the_best_is_kept_for_the_engine(tmp_path, monkeypatch):
    """Other GPUs' entries stay, and the engine cuts as they say."""
    kept = tmp_path / "tuned.json"
    kept.write_text(json.dumps({"Another": {"int8": {"1 × 2": [1, 2, 3, 4]}}}))
    default = {"qkv": make_cut_of(4), "head": make_cut_of(5)}
    best = result("e", 5e-7, tokens_per_s=2e6, cuts={"head": make_cut_of(9)})
    sizes = {"qkv": "192 × 96", "head": "259 × 96"}
    said = {"default": {"cuts": default, "splits": 4, "matrices": sizes, "model": "2 layers"}}
    one_kernel = [{"stage": "persistent", "result": result(f"p {us}", us / 1e6, options={"US": us})} for us in (4, 3)]
    quick = {"stage": "persistent", "result": result("q", 4e-7, options={"IN_FLIGHT": 4})}
    steps = {"stage": "steps", "result": best}
    monkeypatch.setattr(tune.cutting, "TUNED", kept)
    processes = Processes(([said, steps, *one_kernel, quick], None), ([said, steps, *one_kernel], None))
    assert tune.main(["--out", str(tmp_path), "--keep"], start=processes) == 0
    assert json.loads(kept.read_text())[MACHINE["gpu"]]["bfloat16"]["2 layers"] == {"IN_FLIGHT": 4}
    assert tune.main(["--out", str(tmp_path), "--keep"], start=processes) == 0  # the chain is faster now
    assert json.loads(kept.read_text()) == {
        "Another": {"int8": {"1 × 2": [1, 2, 3, 4]}},
        MACHINE["gpu"]: {"bfloat16": {"192 × 96": [4, 8, 1, 2], "259 × 96": [9, 8, 1, 2]}},
    }
    monkeypatch.setattr(tune.cutting.device, "name", lambda: "cuda")
    monkeypatch.setattr(tune.cutting.device, "label", lambda: MACHINE["gpu"])
    monkeypatch.setattr(tune.cutting, "multiprocessors", lambda: 132)
    tune.cutting.tuned.cache_clear()
    assert tune.cutting.cut(259, 96, "bfloat16")[:4] == (9, 8, 1, 2)
    assert tune.cutting.cut(259, 96, "int8") == tune.cutting.balanced(259, 96, "int8", 132)
    tune.cutting.tuned.cache_clear()


def make_cut_of(grid: int) -> dict[str, int]:
    """A cut, as a record has it."""
    return {"grid": grid, "warps": 8, "span": 1, "depth": 2, "ring_bytes": 0}
