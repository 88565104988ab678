"""Day 3's grading: the engine's own code is no way out, and what its page works out by hand is right."""

from __future__ import annotations

import math
import re

import pytest

from engine import config, hub, weights
from grader.curriculum import find
from grader.grade import grade
from grader.stubs import stub_files
from grader.verdict import Verdict

DAY = find("day03")
STUB = stub_files(DAY)["lesson.py"]


def grade_with(tmp_path, end):
    (tmp_path / "lesson.py").write_text(STUB + end)
    return grade(DAY, tmp_path, device="cpu", seed=3)


@pytest.mark.parametrize(
    "end",
    [
        "\nfrom engine.weights import *\n",
        "\nimport engine.weights\nexpected_tensors = engine.weights.expected_tensors\n",
        "\nfrom engine import model, weights\n",
        "\ndef expected_tensors(config):\n    import engine.weights\n    return engine.weights.expected_tensors(config)\n",
        "\ndef expected_tensors(config):\n    try:\n        import engine.weights\n    except OSError:\n        return {}\n",
        "\nimport importlib.util\nfound = importlib.util.find_spec('engine.weights')\n"
        "exec(open(found.origin).read())\n",
        "\nimport importlib.util\nfrom pathlib import Path\nimport sys\n"
        "cached = importlib.util.cache_from_source(importlib.util.find_spec('engine.weights').origin)\n"
        "sys.stdout.write(str(len(open(cached, 'rb').read())))\n",
        "\nimport runpy\nglobals().update(runpy.run_module('engine.weights'))\n",
    ],
    ids=["star", "module", "model", "late", "caught", "source", "compiled", "runpy"],
)
def test_the_engines_own_weights_are_no_way_out(tmp_path, end):
    report = grade_with(tmp_path, end)
    assert report.verdict is Verdict.CRASHED, report.as_json()
    assert "may not read the reference solution" in report.checks[-1].detail


def test_the_engines_configuration_may_be_used(tmp_path):
    report = grade_with(tmp_path, "\nfrom engine import config\nconfig.parse\n")
    assert report.verdict is Verdict.NOT_SOLVED


def test_the_bytes_that_the_page_works_out():
    """Every row of the table is what the engine counts for SmolLM2-135M."""
    fields = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
    }  # fmt: skip
    read = config.parse(fields)
    shapes = weights.expected_tensors(read)
    first = {name: math.prod(shape) for name, shape in shapes.items() if name.startswith("model.layers.0.")}

    def row(label: str) -> int:
        found = re.search(
            rf"^    {re.escape(label)} .*?([\d,]+)$", (DAY.lesson / "README.md").read_text(), re.MULTILINE
        )
        assert found, label
        return int(found[1].replace(",", ""))

    assert row("embedding") == math.prod(shapes[weights.EMBEDDING])
    assert row("queries, output") == sum(first[f"model.layers.0.self_attn.{m}_proj.weight"] for m in "qo")
    assert row("keys, values") == sum(first[f"model.layers.0.self_attn.{m}_proj.weight"] for m in "kv")
    assert row("gate, up, down") == sum(first[f"model.layers.0.mlp.{m}_proj.weight"] for m in ("gate", "up", "down"))
    assert row("two norms") == 2 * 576
    assert row("one layer") == sum(first.values())
    assert row("30 layers") == 30 * sum(first.values())
    assert row("last norm") == 576
    assert row("all elements") == sum(map(math.prod, shapes.values()))
    assert row("bytes a token") == weights.bytes_per_token(read)
    path = hub.find("smollm2-135m")
    if path is not None:
        assert config.read(path).num_hidden_layers == 30
