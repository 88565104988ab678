"""The suite of rooflines with a fake GPU: what it records, what pages and pictures make of it."""

from __future__ import annotations

import importlib.util
import json
import sys
import types

import numpy as np
import pytest

from benchmarks import roofline_tables, tables
from benchmarks.suites import roofline as suite
from engine import config, model, profiling, roofline_plot, roofline_report
from engine.roofline import kernels
from grader.curriculum import REPOSITORY
from grader.goldens import tiny

FIGURES = {"quartile1_s": 1e-6, "quartile3_s": 3e-6, "repeats": 20}
CEILINGS = {
    "read": {"bytes_per_s": 4e12, "median_s": 2e-6, **FIGURES}, "copy": {"bytes_per_s": 3e12, "median_s": 2e-6, **FIGURES},
    "product": {"operations_per_s": 8e14, "median_s": 2e-6, **FIGURES}, "launch": {"median_s": 2e-6, **FIGURES},
}  # fmt: skip


@pytest.fixture
def fake(on_cpu):
    """NumPy plays CuPy, tiny models stand for the real ones, and every pass takes the same."""
    fake = types.ModuleType("cupy")
    fake.random = types.SimpleNamespace(default_rng=np.random.default_rng)
    fake.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    on_cpu.setitem(sys.modules, "cupy", fake)
    on_cpu.setattr(suite, "LLAMA_3_2_1B", {**tiny.LLAMA, "tie_word_embeddings": True})
    on_cpu.setattr(suite.hub, "find", lambda _name: None)
    on_cpu.setattr(suite, "PASSES", ((1, 9), (7, 7)))

    def times(ours, tokens, length):
        return {
            kernel.name: [kernel.launches * (2e-6 + kernel.bytes / 2e12) * (1 + n / 100) for n in range(20)]
            for kernel in kernels(ours.config, tokens, length)
        }

    on_cpu.setattr(profiling, "measure", times)
    return on_cpu


def test_models_and_passes(fake):
    record = suite.run({"ceilings": CEILINGS})
    llama, real = record["models"]
    assert [(one["tokens"], one["length"]) for one in llama["passes"]] == [(1, 9), (7, 7)]
    assert all(len(one["bottlenecks"]) == 3 for one in llama["passes"])
    assert real == {"model": "SmolLM2-135M", "not_run": "python -m engine pull smollm2-135m"}
    assert set(record["ceilings"]) == {"read", "product", "launch"}
    with pytest.raises(RuntimeError, match="run the suite ceilings"):
        suite.run({})


def test_a_model_without_room_is_not_run(fake):
    def no_room():
        raise MemoryError("Out of memory allocating 1 byte")

    fake.setattr(suite, "random_model", no_room)
    assert suite.run({"ceilings": CEILINGS})["models"][0]["not_run"] == "MemoryError: Out of memory allocating 1 byte"


def test_random_weights_are_a_model_that_runs(fake):
    ours = suite.random_model()
    assert ours.head is ours.embedding
    assert ours.layers[2]["self_attn.k_proj.weight"].dtype == suite.BFLOAT16
    assert 0.9 < float(ours.norm.mean()) < 1.1
    fake.undo()
    assert set(profiling.measure(ours, 1, 3)) == {kernel.name for kernel in kernels(ours.config, 1, 3)}


def record_of(fake) -> dict:
    head = {"command": "python benchmarks/gpu.py", "date": "2026-01-31", "machine": {"gpu": "NVIDIA X1", "cpu": "c"}}
    fake.setattr(suite.hub, "find", lambda _name: "folder")
    fake.setattr(
        suite.model, "load", lambda _folder: model.assemble(config.parse(tiny.QWEN3), tiny.weights("tiny-qwen3"))
    )
    return head | suite.run({"ceilings": CEILINGS})


def test_tables(fake):
    record = record_of(fake)
    text = tables.markdown(tables.TABLES["roofline"], {"nvidia-x1": {"roofline": record}})
    head, _, *rows = text.splitlines()
    work = [kernel.name for kernel in kernels(config.parse(tiny.LLAMA), 1, 9)]
    assert [row.split(" | ")[0].strip("| `") for row in rows[: len(work)]] == work
    assert {row.count(" | ") for row in rows[: len(work)]} == {head.count(" | ")}
    assert "4.00 TB/s" in text
    assert "800 TFLOP/s" in text
    assert "docs/roofline-nvidia-x1-llama-3-2-1b.svg" in text
    worst = record["models"][0]["passes"][0]["bottlenecks"]
    assert ", ".join(f"`{name}`" for name in worst) in text
    smaller = tables.markdown(tables.TABLES["roofline-smollm2"], {"nvidia-x1": {"roofline": record}})
    assert "`q_norm`" in smaller
    record["models"][1] = {"model": "SmolLM2-135M", "not_run": "no"}
    assert "SmolLM2-135M: NOT RUN, no." in tables.markdown(
        tables.TABLES["roofline-smollm2"], {"nvidia-x1": {"roofline": record}}
    )


def test_pictures(fake, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("docs_plots", REPOSITORY / "docs" / "plots.py")
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    (tmp_path / "docs").mkdir()
    (tmp_path / "results" / "nvidia-x1").mkdir(parents=True)
    path = tmp_path / "results" / "nvidia-x1" / "roofline.json"
    record = record_of(fake)

    def main(*arguments: str) -> int:
        path.write_text(json.dumps(record))
        monkeypatch.setattr(sys, "argv", ["docs/plots.py", *arguments])
        return docs.main(tmp_path)

    assert main("--check") == 1
    assert list((tmp_path / "docs").iterdir()) == []
    assert main() == 0
    assert sorted(f.name for f in (tmp_path / "docs").iterdir()) == [
        "roofline-nvidia-x1-llama-3-2-1b.svg", "roofline-nvidia-x1-smollm2-135m.svg",
    ]  # fmt: skip
    assert main("--check") == 0
    record["models"][0]["passes"][0]["kernels"][3]["median_s"] *= 2
    capsys.readouterr()
    assert main("--check") == 1
    assert capsys.readouterr().out == "out of date: docs/roofline-nvidia-x1-llama-3-2-1b.svg\n"


def test_pictures_are_of_their_records():
    for path in sorted((REPOSITORY / "results").glob("*/roofline.json")):
        record = json.loads(path.read_text())
        for entry in record["models"]:
            name = roofline_tables.picture(path.parent.name, entry["model"])
            described = roofline_plot.description(entry.get("passes", []), record["ceilings"])
            assert "passes" not in entry or described in (REPOSITORY / "docs" / name).read_text().replace("&#x27;", "'")
    assert roofline_report.WORST == 3
