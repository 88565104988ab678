"""The stored rotary tables of Transformers, the float64 definition and the engine's frequencies agree."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ops.rope import inverse_frequencies
from grader import budget, goldens, llama, oracles
from grader.goldens import make_rope

STORED = goldens.load("rope")
TABLES = STORED["tables"]
POSITIONS = np.array(STORED["positions"], np.int32)
U = 2.0**-24


def within(got, expected, allowed) -> bool:
    return bool((np.abs(np.asarray(got, np.float64) - expected) <= allowed).all())


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_what_the_definition_says(name):
    table = TABLES[name]
    given = table["head_dim"], table["theta"], table["scaling"]
    exact = llama.inverse_frequencies(
        {"rope_theta": table["theta"], "rope_scaling": table["scaling"]}, table["head_dim"]
    )
    assert within(table["inverse_frequencies"], exact, budget.inverse_frequencies(*given).absolute / 2)
    angles = POSITIONS[:, None] * np.array(table["inverse_frequencies"], np.float32).astype(np.float64)
    assert within(table["cos"], np.cos(angles), (angles + 2) * U)
    assert within(table["sin"], np.sin(angles), (angles + 2) * U)


@pytest.mark.parametrize("name", TABLES)
def test_transformers_turns_the_pairs_that_the_oracle_turns(name):
    table = TABLES[name]
    query, frequencies = make_rope.query(table["head_dim"]), np.array(table["inverse_frequencies"], np.float32)
    rotated = np.array(table["rotated"])[:, None, :]
    assert within(rotated, oracles.rope_by_table(query, POSITIONS, frequencies), 4 * U * np.abs(query).max())
    assert within(
        rotated, oracles.rope(query, POSITIONS, frequencies), budget.rope(query, POSITIONS, frequencies).absolute
    )


@pytest.mark.parametrize("name", [name for name in TABLES if "llama3" not in name] + ["theta 500,000, llama3"])
def test_the_engine_has_transformers_bits(name):
    table = TABLES[name]
    ours = inverse_frequencies(table["head_dim"], table["theta"], table["scaling"])
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, np.array(table["inverse_frequencies"], np.float32))


@pytest.mark.parametrize("count", [2, 10])
def test_score_depends_on_the_distance_alone(count):
    rng = np.random.default_rng(count)
    q, k = rng.standard_normal((2, 1, 1, count))
    frequencies = 10_000.0 ** (-np.arange(0, count, 2) / count)

    def score(at_query: int, at_key: int) -> float:
        turned = [oracles.rope(x, np.array([p]), frequencies) for x, p in ((q, at_query), (k, at_key))]
        return float((turned[0] * turned[1]).sum())

    assert score(907, 900) == pytest.approx(score(7, 0), rel=1e-9)
    assert score(907, 901) != pytest.approx(score(7, 0), rel=1e-3)


@pytest.mark.goldens
def test_tables_are_made_again():
    for name, given in make_rope.TABLES.items():
        made, kept = make_rope.table(*given), TABLES[name]
        for key in ("inverse_frequencies", "cos", "sin", "rotated"):
            np.testing.assert_allclose(
                made[key], kept[key], rtol=1e-6, atol=1e-2 if key != "inverse_frequencies" else 0
            )
