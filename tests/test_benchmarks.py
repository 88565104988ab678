"""The benchmark scripts' own logic, with a fake GPU: what they record, what they refuse, how they time."""

from __future__ import annotations

import contextlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, kernel_peers, record, tables, timing
from benchmarks.suites import day02, day05, day06, day07, day11, day12, day15, day18
from engine import ceilings
from engine.timing import spread
from tests.fakes import CEILINGS

MACHINE = {"gpu": "NVIDIA X1", "cpu": "c", "cores": 2, "python": "3.12"}


@pytest.fixture(autouse=True)
def started_as_a_script(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(record.REPOSITORY / "benchmarks" / "gpu.py")])


# ---- records -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folder"), [("NVIDIA H200", "nvidia-h200"), ("GeForce RTX™ 4090", "geforce-rtx-4090")]
)
def test_slug(name, folder):
    assert record.slug(name) == folder


def test_spread_is_median_quartiles_and_repeats():
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {
        "median_s": 3.0, "quartile1_s": 2.0, "quartile3_s": 4.0, "repeats": 5,
    }  # fmt: skip
    assert spread([7.0]) == {"median_s": 7.0, "quartile1_s": 7.0, "quartile3_s": 7.0, "repeats": 1}


def test_record_names_the_command_and_no_folder_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(record.REPOSITORY / "benchmarks/gpu.py"), "--out", str(tmp_path / "results")])
    path = record.write(tmp_path / "a" / "b", "x", MACHINE, {"figure": 1})
    written = json.loads(path.read_text())
    assert written["command"] == "python benchmarks/gpu.py --out results"
    assert written["machine"] == MACHINE
    assert written["figure"] == 1


def test_record_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        record.write(tmp_path, "x", MACHINE, {"share": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_figures_do_not_hide_what_the_record_says_of_itself(tmp_path):
    with pytest.raises(ValueError, match="command"):
        record.write(tmp_path, "x", MACHINE, {"command": "pytest"})


# ---- running suites ------------------------------------------------------------------------------------------------


def test_a_failed_suite_does_not_stop_the_others(tmp_path, capsys):
    def breaks(_):
        raise AssertionError("wrong numbers; not timed")

    seen = {}

    def last(context):
        seen.update(context)
        return {"figure": 3}

    steps = [("one", lambda _: {"figure": 1}), ("two", breaks), ("three", lambda _: {"failed": "no"}), ("four", last)]
    assert gpu.run_steps(steps, tmp_path, MACHINE) == ["two", "three"]
    assert {f.stem for f in tmp_path.iterdir()} == {"one", "three", "four"}
    assert seen == {"one": {"figure": 1}, "three": {"failed": "no"}}
    assert "wrong numbers; not timed" in capsys.readouterr().err


REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("report", "status", "said"),
    [
        ((5, 0, 0, 0), 0, ""),
        ((5, 1, 0, 0), 1, "status 1"),
        ((5, 0, 0, 2), 0, "2 tests did NOT RUN"),
        ((0, 0, 0, 0), 0, "no test ran"),
        ((2, 0, 0, 2), 0, "no test ran"),
    ],
)
def test_only_tests_that_ran_and_passed_count(report, status, said):
    counts = gpu.read_report(REPORT.format(*report))
    assert counts["passed"] == report[0] - sum(report[1:])
    why = gpu.why_not_passed(counts, status)
    assert said in why
    assert bool(said) == bool(why)
    assert gpu.why_not_passed({}, 0) == "no test ran"


def test_without_a_gpu_nothing_is_written(tmp_path, monkeypatch, capsys):
    def no_gpu(_name):
        raise gpu.device.DeviceError("no GPU answers")

    monkeypatch.setattr(gpu.device, "select", no_gpu)
    assert gpu.main(["--out", str(tmp_path)]) == 4
    assert capsys.readouterr().err.startswith("NOT RUN: no GPU answers")
    assert list(tmp_path.iterdir()) == []


def test_main_runs_suites_in_order_under_the_gpu_s_name(tmp_path, monkeypatch):
    ran = []

    def suite(name):
        return types.SimpleNamespace(run=lambda context: ran.append((name, list(context))) or {"figure": 1})

    monkeypatch.setattr(gpu.device, "select", lambda _name: "cuda")
    monkeypatch.setattr(gpu, "describe_gpu", lambda: MACHINE)
    monkeypatch.setattr(gpu.importlib, "import_module", lambda name: suite(name.rsplit(".", 1)[1]))
    monkeypatch.setattr(gpu, "run_tests", suite("tests").run)
    everything = ["tests", *gpu.SUITES]
    assert gpu.main(["--out", str(tmp_path)]) == 0
    assert [name for name, _ in ran] == everything
    assert ran[-1][1] == everything[:-1]
    assert {f.name for f in (tmp_path / "nvidia-x1").iterdir()} == {f"{name}.json" for name in everything}
    ran.clear()
    assert gpu.main(["--out", str(tmp_path), "--suite", "roofline", "--suite", "ceilings"]) == 0
    assert [name for name, _ in ran] == ["ceilings", "roofline"]


def test_every_suite_is_listed():
    files = {f.stem for f in (Path(gpu.__file__).parent / "suites").glob("*.py")} - {"__init__"}
    assert files == set(gpu.SUITES)


# ---- timing --------------------------------------------------------------------------------------------------------


class FakeStream(contextlib.nullcontext):
    """A CUDA stream that writes down what happens on it."""

    log: list[str]

    def __init__(self, non_blocking):
        super().__init__()
        assert non_blocking

    def synchronize(self):
        self.log.append("synchronize")

    def begin_capture(self):
        self.log.append("begin")

    def end_capture(self):
        self.log.append("end")
        return types.SimpleNamespace(launch=lambda: self.log.append("launch"))


@pytest.fixture
def fake_cupy(monkeypatch):
    FakeStream.log = []
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=types.SimpleNamespace(Stream=FakeStream)))
    return FakeStream.log


class Output:
    """What a call returns; counts how many are alive at once."""

    alive = 0

    def __init__(self):
        Output.alive += 1

    def __del__(self):
        Output.alive -= 1


def test_graph_times_are_for_one_call_and_outputs_stay_alive(fake_cupy, monkeypatch):
    def times_of(call, repeats):
        assert Output.alive == 4, "memory given back would be used again by the next call"
        call()
        return {"median_s": 8.0, "quartile1_s": 4.0, "quartile3_s": 12.0, "repeats": repeats}

    monkeypatch.setattr(timing, "times_of", times_of)
    got = timing.times_in_graph([Output] * 4, repeats=7)
    assert got == {"median_s": 2.0, "quartile1_s": 1.0, "quartile3_s": 3.0, "repeats": 7}
    assert fake_cupy == ["synchronize", "begin", "end", "launch"]
    assert Output.alive == 0


def test_a_capture_is_ended_when_a_call_fails(fake_cupy):
    calls = iter([None, RuntimeError("out of memory")])

    def call():
        outcome = next(calls)
        if outcome is not None:
            raise outcome

    with pytest.raises(RuntimeError, match="out of memory"):
        timing.times_in_graph([call])
    assert fake_cupy == ["synchronize", "begin", "end"]


@pytest.mark.parametrize(("moved", "expected"), [(6, 64), (2 << 10, 64), (200 << 20, 2), (2 << 30, 1), (20 << 20, 20)])
def test_buffers_outgrow_the_cache(moved, expected):
    l2_bytes = 100 << 20
    count = kernel_peers.buffers_needed(moved, l2_bytes)
    assert count == expected
    assert count == kernel_peers.MOST_BUFFERS or count * moved >= kernel_peers.L2_SIZES_TO_OUTGROW * l2_bytes


@pytest.mark.parametrize("rows", [1, 64, 256, 257, 65536])
def test_first_and_last_row_are_always_checked(rows):
    chosen = kernel_peers.rows_to_check(rows, np.random.default_rng(0))
    assert {0, rows - 1} <= set(chosen.tolist())
    assert len(chosen) == len(set(chosen.tolist()))
    assert 0 <= chosen.min() <= chosen.max() < rows
    assert len(chosen) == min(rows, kernel_peers.ROWS_CHECKED)


@pytest.fixture
def timed(numpy_as_cupy, monkeypatch):
    """How many calls each one timed has, on shapes that are small or too large."""
    monkeypatch.setattr(day02, "ELEMENTS", (1000, 1 << 30))
    monkeypatch.setattr(day05, "TABLES", ((50, 576), (1 << 20, 4096)))
    monkeypatch.setattr(day05, "TOKENS", (3,))
    monkeypatch.setattr(day06, "ROWS", (3, 1 << 30))
    monkeypatch.setattr(day06, "COLUMNS", (576,))
    monkeypatch.setattr(day07, "ROWS", (3, 1 << 30))
    monkeypatch.setattr(day07, "HIDDEN", (576,))
    monkeypatch.setattr(day11, "TOKENS", (3, 1 << 30))
    monkeypatch.setattr(day11, "HEADS", ((2, 6),))
    monkeypatch.setattr(day12, "ROWS", (3, 1 << 30))
    monkeypatch.setattr(day12, "COLUMNS", (100,))
    monkeypatch.setattr(day15, "TOKENS", (3, 1 << 30))
    monkeypatch.setattr(day15, "INTERMEDIATE", (50,))
    monkeypatch.setattr(day18, "ROWS", (3, 1 << 30))
    monkeypatch.setattr(day18, "VOCABULARIES", (100,))
    return numpy_as_cupy


# Suite, its shapes that fit and that do not, bytes of the first, the ceiling it stands beside.
SUITES = [
    (day02, [{"elements": 1000}], [{"elements": 1 << 30}], 6 * 1000, "copy"),
    (
        day05,
        [{"tokens": 3, "vocabulary": 50, "hidden": 576}],
        [{"tokens": 3, "vocabulary": 1 << 20, "hidden": 4096}],
        2 * 3 * 576 * 2 + 3 * 4,
        "copy",
    ),
    (
        day06,
        [{"function": f, "rows": 3, "columns": 576} for f in day06.FUNCTIONS],
        [{"function": f, "rows": 1 << 30, "columns": 576} for f in day06.FUNCTIONS],
        3 * 576 * 4 + 3 * 4,
        "read",
    ),
    (
        day07,
        [{"rows": 3, "hidden": 576, "dtype": dtype} for dtype in ("bfloat16", "float32")],
        [{"rows": 1 << 30, "hidden": 576, "dtype": dtype} for dtype in ("bfloat16", "float32")],
        2 * 3 * 576 * 2 + 576 * 2,
        "copy",
    ),
    (
        day11,
        [{"tokens": 3, "heads": 2, "head_dim": 6}],
        [{"tokens": 1 << 30, "heads": 2, "head_dim": 6}],
        2 * 3 * 2 * 6 * 4 + 3 * 4 + 3 * 4,
        "copy",
    ),
    (day12, [{"rows": 3, "columns": 100}], [{"rows": 1 << 30, "columns": 100}], 2 * 3 * 100 * 4, "copy"),
    (day15, [{"tokens": 3, "intermediate": 50}], [{"tokens": 1 << 30, "intermediate": 50}], 3 * 3 * 50 * 4, "copy"),
    (day18, [{"rows": 3, "vocabulary": 100}], [{"rows": 1 << 30, "vocabulary": 100}], 3 * 100 * 4 + 3 * 4, "read"),
]
SOLUTIONS = [
    "widen",
    "embedding",
    "row_sum_tree",
    "row_sum",
    "row_max",
    "rmsnorm",
    "rope",
    "softmax",
    "swiglu",
    "largest_indices",
]
every_suite = pytest.mark.parametrize(
    ("suite", "fitting", "too_large", "moved", "ceiling"), SUITES, ids=lambda value: getattr(value, "__name__", "")
)


@every_suite
def test_a_suite_measures_every_shape_that_fits(timed, suite, fitting, too_large, moved, ceiling):
    shapes = suite.run(CEILINGS)["shapes"]
    not_run = [s for s in shapes if "not_run" in s]
    ran = [s for s in shapes if "not_run" not in s]
    assert [{k: s[k] for k in wanted} for s, wanted in zip(ran, fitting, strict=True)] == fitting
    assert [{k: s[k] for k in wanted} for s, wanted in zip(not_run, too_large, strict=True)] == too_large
    for shape in ran:
        assert 0 <= shape["share_of_budget"] <= 1
        assert shape["bytes_per_s"] == pytest.approx(shape["bytes"] / 1e-6)
        bandwidth = CEILINGS["ceilings"][ceiling]["bytes_per_s"]
        assert shape[f"share_of_{ceiling}"] == pytest.approx(shape["bytes_per_s"] / bandwidth)
        assert shape["cupy"]["bytes_per_s"] > 0
        assert "torch" not in shape
    assert ran[0]["bytes"] == moved
    assert timed == [64] * 2 * len(fitting)  # the solution and CuPy


@every_suite
def test_a_suite_is_measured_beside_the_ceilings_only(timed, suite, fitting, too_large, moved, ceiling):
    with pytest.raises(RuntimeError, match=f"{ceiling} bandwidth: run the suite ceilings"):
        suite.run({})


@every_suite
def test_a_suite_does_not_time_a_wrong_answer(timed, suite, fitting, too_large, moved, ceiling, monkeypatch):
    """The solution's results, off by a little in the last element of the last row."""

    class Wrong(suite.Lesson):
        def __init__(self, folder):
            super().__init__(folder)
            for name in SOLUTIONS:
                if hasattr(self.module, name):
                    setattr(self.module, name, spoilt(getattr(self.module, name)))

    def spoilt(function):
        def call(*args):
            out = function(*args)
            spoils = args[1] if out is None else out  # what it returned, or filled
            spoils[..., -1] = -1 if spoils.dtype.kind == "i" else np.nan
            return out

        return call

    monkeypatch.setattr(suite, "Lesson", Wrong)
    with pytest.raises(AssertionError, match=r"the solution: .*not timed"):
        suite.run(CEILINGS)
    assert timed == []


def test_a_peer_that_cannot_be_measured_is_not_run(timed, monkeypatch, capsys):
    def broken(_x, _weight):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(day07, "cupy_expression", broken)
    shape = day07.run(CEILINGS)["shapes"][0]
    assert shape["cupy"] == {"not_run": "RuntimeError: operation not permitted when stream is capturing"}
    assert tables.gigabytes(shape["cupy"]) == "NOT RUN"
    assert "cupy NOT RUN" in capsys.readouterr().out
    assert timed == [64] * 2


def test_a_peer_that_computes_something_else_is_refused(timed, monkeypatch):
    monkeypatch.setattr(day07, "cupy_expression", lambda x, _weight: x + x)
    with pytest.raises(AssertionError, match=r"cupy.*not timed"):
        day07.run(CEILINGS)


def test_tensors_are_compared_by_their_rows(monkeypatch):
    """Torch played by NumPy, as far as it is asked for rows on the host."""

    class Tensor(np.ndarray):
        def view(self, kind):
            return super().view(kind)

        def cpu(self):
            return self

        def cuda(self):
            return self

        def numpy(self):
            return np.asarray(self)

    fake = types.SimpleNamespace(uint8=np.uint8, from_numpy=lambda array: array.view(Tensor))
    monkeypatch.setitem(sys.modules, "torch", fake)
    for out in (np.arange(6, dtype=np.float32), np.arange(24, dtype=np.float32).reshape(6, 4)):
        np.testing.assert_array_equal(kernel_peers.torch_rows(out.view(Tensor), np.array([0, 5])), out[[0, 5]])


@pytest.mark.parametrize("memory_bytes", [8 << 30, (24 << 30) + 1, 150 << 30])
def test_ceilings_fit_into_the_memory(memory_bytes):
    size = ceilings.bytes_to_move(memory_bytes)
    assert size % 16 == 0
    assert 1 << 30 <= size <= 4 << 30
    assert 3 * size < memory_bytes
