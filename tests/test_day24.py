"""Day 24 by itself: the formulas beside the emulator's counters and beside real models, and what its page says."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest

import emulator
from engine import cache, config, device
from engine.ops import argmax, attention, decode_attention, embedding, matmul, matvec, mlp, rmsnorm, rope
from grader import work_oracles
from grader.checks import day24
from grader.curriculum import find
from tests import lessons

DAY = find("day24")
SOLUTION = lessons.load(DAY)
PAGE = (DAY.lesson / "README.md").read_text()


def test_the_worked_example():
    machine, rows = SOLUTION.Machine(8.0, 4.0), []
    for tokens, seconds in ((1, 10.0), (4, 20.0)):
        moved, operations = SOLUTION.product(tokens, 2, 4, 2)
        standing = SOLUTION.place(SOLUTION.Kernel("product", 3, moved, operations), machine, seconds)
        rows.append((standing, moved / 8, operations / 4))
    columns = {
        "x ": [16 * tokens for tokens in (1, 4)],
        "weight": [2 * 2 * 4] * 2,
        "result": [8 * tokens for tokens in (1, 4)],
        "bytes ": [s.kernel.bytes for s, *_ in rows],
        "operations ": [s.kernel.operations for s, *_ in rows],
        "intensity": [round(s.intensity, 3) for s, *_ in rows],
        "time of the bytes": [bytes_s for _, bytes_s, _ in rows],
        "time of the operations": [operations_s for *_, operations_s in rows],
        "floor": [s.floor_s for s, *_ in rows],
        "measured": [s.seconds for s, *_ in rows],
        "share of the ceiling": [s.share for s, *_ in rows],
        "time lost": [s.lost_s for s, *_ in rows],
    }
    assert [s.bound for s, *_ in rows] == ["bytes", "operations"]
    for label, values in columns.items():
        found = re.search(rf"^    {label} +([\d.]+) +([\d.]+)", PAGE, re.MULTILINE)
        assert found, label
        assert [float(n) for n in found.groups()] == pytest.approx(values), label
    assert SOLUTION.ridge(machine) == 0.5
    assert "4 / 8 = 0.5" in PAGE


def test_the_data_sheet_s_ridge():
    assert round(SOLUTION.ridge(SOLUTION.Machine(4.8e12, 989e12))) == 206
    assert "a ridge at 206" in PAGE


@pytest.mark.parametrize("tokens", [1, 2, 64, 500])
def test_intensity_is_about_the_number_of_tokens(tokens):
    """The page says so of products of real sizes; what the activations add is less than half of it."""
    moved, operations = SOLUTION.product(tokens, 8192, 2048, 2)
    assert 0.5 * tokens < operations / moved <= tokens


def test_what_the_solution_s_page_computes():
    text = (DAY.solution / "README.md").read_text()
    assert 4 * 2048 == 8 << 10
    assert 4 * 8192 == 32 << 10
    assert 2 * 2048 * 8192 == 32 << 20
    assert 512 * 4 * (2048 + 8192) == 20 << 20
    for words in ("8 KiB of x", "32 KiB beside 32 MiB", "20 MiB"):
        assert words in text


@pytest.mark.parametrize("fields", [day24.SMOLLM2_135M, day24.LLAMA_3_2_1B, day24.QWEN3_0_6B])
def test_a_step_reads_every_weight_once(fields):
    """Over a decode step, matrices and norms are all of the model's bytes but the embedding's other rows."""
    sizes = config.parse(fields)
    empty = {k.name: k for k in SOLUTION.kernels(sizes, 1, 1, 1)}
    full = {k.name: k for k in SOLUTION.kernels(sizes, 1, 1, 2)}
    grown = sum(k.launches * (k.bytes - empty[name].bytes) for name, k in full.items())  # one byte for each weight
    shapes = work_oracles.file_oracles.shapes(work_oracles.LlamaConfig(fields))
    matrices = sum(rows * columns for rows, columns in (shape for shape in shapes.values() if len(shape) == 2))
    assert grown == matrices + 3 * fields["hidden_size"]  # the embedding's row is read, written, and read again


# ---- beside the emulator's counters ----------------------------------------------------------------------------------------

TOKENS = 5
SECTOR = 32  # what the smallest access costs


@pytest.fixture
def counted(on_cpu):
    """Runs something and returns the bytes of its accesses, each request at its best."""
    launches = []
    device.select("cpu", check=emulator.Checks(costs=True, schedules=1, report=lambda _name, c: launches.append(c)))

    def run(call) -> int:
        launches.clear()
        call()
        assert launches
        return sum(SECTOR * costs.total("ideal", "global") for costs in launches)

    return run


def wide(*shape):
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def narrow(*shape):
    return wide(*shape).astype(ml_dtypes.bfloat16)


def filled_cache():
    cache.LayerCache(40, 2, 64).append(wide(TOKENS, 2, 64), wide(TOKENS, 2, 64))


def model_of(tokens: int, length: int, **sizes: int) -> dict[str, int]:
    """The formulas of a small model's pass, in bytes by name."""
    fields = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 3000,
    }  # fmt: skip
    return {k.name: k.bytes for k in SOLUTION.kernels(config.parse(fields | sizes), tokens, length, 2)}


ID_FOR_EACH_WARP = TOKENS * (embedding.THREADS // 32 * SECTOR - 4)
POSITION_FOR_EACH_WARP = TOKENS * (rope.THREADS // 32 * SECTOR - 4)
PARTS = -(-3000 // argmax.PART)
OTHER_WARPS = attention.THREADS // 32 - 1
# A kernel, a call of it, and what it asks for beyond the formula: again, or in a sector of which it needs less.
COUNTED = {
    "embedding": (lambda: embedding.embedding(np.arange(TOKENS, dtype=np.int32), narrow(9, 64)), ID_FOR_EACH_WARP),
    "norm": (
        lambda: rmsnorm.rmsnorm(wide(TOKENS, 64), wide(64), 1e-5),
        4 * TOKENS * 64 + 4 * 64 * (TOKENS - 1),  # each row twice; the weight for every row
    ),
    "rope q": (
        lambda: rope.rope(wide(TOKENS, 6, 64), np.arange(TOKENS, dtype=np.int32), wide(32)),
        POSITION_FOR_EACH_WARP + 4 * 32 * (TOKENS - 1),  # the frequencies for every token
    ),
    "append": (filled_cache, 0),
    "swiglu": (lambda: mlp.swiglu(wide(TOKENS, 128), wide(TOKENS, 128)), 0),
    "argmax": (
        lambda: argmax.argmax(wide(1, 3000)),
        SECTOR * PARTS + SECTOR + SECTOR - 4,
    ),  # its keys between two kernels
}


@pytest.mark.parametrize("name", COUNTED)
def test_formulas_agree_with_the_counters(counted, name):
    call, beyond = COUNTED[name]
    assert counted(call) == model_of(TOKENS, TOKENS)[name] + beyond


def test_a_product_of_one_token_asks_for_x_again(counted):
    rows, columns = 24, 256
    asked = counted(lambda: matvec.matvec(wide(columns), narrow(rows, columns)))
    formula, _ = SOLUTION.product(1, rows, columns, 2)
    assert formula <= asked <= formula + rows * (4 * columns + SECTOR)


def test_a_product_of_several_asks_again_for_every_tile(counted):
    tokens, rows, columns = 40, 96, 64
    asked = counted(lambda: matmul.matmul(wide(tokens, columns), narrow(rows, columns)))
    tiles_of_rows, tiles_of_tokens = rows // matmul.TILE, -(-tokens // matmul.TILE)
    again = 4 * tokens * columns * (tiles_of_rows - 1) + 2 * rows * columns * (tiles_of_tokens - 1)
    assert asked == SOLUTION.product(tokens, rows, columns, 2)[0] + again


def test_a_step_s_attention_asks_for_keys_once(counted):
    q, k, v = wide(6, 64), wide(40, 2, 64), wide(40, 2, 64)
    asked = counted(lambda: decode_attention.decode_attention(q, k, v, 33))
    assert asked == model_of(1, 33)["attention"] + 4 * q.size * (decode_attention.THREADS // 32 - 1)


def test_a_prompt_s_attention_asks_for_keys_for_every_query_and_head(counted):
    q, k, v = wide(3, 6, 64), wide(10, 2, 64), wide(10, 2, 64)
    pairs = 6 * (8 + 9 + 10)
    asked = counted(lambda: attention.attention(q, k, v))
    again = 4 * q.size * OTHER_WARPS + 2 * 4 * (64 * pairs - k.size)
    assert asked == model_of(3, 10)["attention"] + again
