"""Tables and pictures of a record."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys

import pytest

from benchmarks import peer_plot, peer_tables, record, tables
from benchmarks.peers import registry
from tests.peers.made import Jobs, read_record, run_all


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    jobs = Jobs({"loop-int8": "its process ended with status -11"})
    run_all(jobs, tmp_path / "results", monkeypatch=monkeypatch)
    return read_record(tmp_path / "results")


def test_the_table_of_all(recorded):
    text = tables.markdown(tables.TABLES["peers"], {"nvidia-x1": {"peers": recorded}})
    head, _, *rows = text.splitlines()
    rows = [row for row in rows if row.startswith("|")]
    assert {row.count(" | ") for row in rows} == {head.count(" | ")}
    assert len(rows) == len(registry.PEERS)
    assert "first token of 4, ms | first token of 16, ms | 2 texts, tokens/s | 4 texts, tokens/s" in head
    assert (
        "| **this engine** | bfloat16 | 1,500 ± 0.0 % | 75 % | 1.00 ± 0.00 | 1.00 ± 0.00 |  |  | 2.0e-06 | 11 + 1 ties of 12 |"
        in rows
    )
    assert "| llama.cpp | bf16 | NOT RUN |  | NOT RUN | NOT RUN |" in text
    assert "llama.cpp, q8_0: NOT RUN, llama-bench is not on the PATH." in text
    assert "int8: FAILED, its process ended with status -11." in text
    assert "1,980 to 1,980 MHz, at 40 °C at most" in text


def test_the_bar(recorded):
    def table(**more) -> dict[str, list[str]]:
        text = tables.markdown(tables.TABLES["peers-bar"], {"nvidia-x1": {"peers": recorded, **more}})
        rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("|")]
        return {row[0]: row[1:] for row in rows[2:]}

    rows = table()
    required = {row["figure"]: row for row in json.loads(peer_tables.BAR.read_text())["rows"]}
    assert rows.keys() == required.keys()
    decode = rows["decode, bfloat16 weights, tokens/s"]
    assert decode == ["1,400", "1,650", "1,500", "required", f"1,470, {registry.LOOP}"]
    assert rows["decode, int8 weights, tokens/s"][2:4] == ["1,490", "no"]
    assert rows["decode, int8 weights, tokens/s"][4] == f"1,440, {registry.LOOP}"
    assert rows["first token of 2,048, ms"][2] == "NOT RUN"
    assert rows["relative error of the logits, int8 weights"][:4] == ["0.0001", "", "2e-06", "required"]
    small = "SmolLM2-135M, decode, bfloat16 weights, tokens/s"
    assert rows[small][2] == "NOT RUN"
    assert table(**{"peers-smollm2-135m": recorded})[small][2:4] == ["1,500", "required"]


@pytest.mark.parametrize(
    ("got", "at_most", "name"),
    [(9.0, False, "no"), (10.0, False, "required"), (20.0, False, "aim"), (21.0, True, "no"), (15.0, True, "aim")],
)
def test_what_is_reached(got, at_most, name):
    row = {"required": 20, "aim": 15} if at_most else {"required": 10, "aim": 20}
    assert peer_tables.reached(got, row, at_most) == name


def test_the_picture(recorded):
    svg = peer_plot.svg(recorded)
    assert svg == peer_plot.svg(recorded)
    words = peer_plot.described(recorded)
    assert f"<desc>{words}</desc>" in svg
    assert "this engine, bfloat16 1,500" in words
    assert "first token of 16, ms (shorter is better)" in words
    assert "tokens a second, 4 texts at once" in words
    assert "llama.cpp" not in words
    assert peer_plot.described({**recorded, "peers": []}) == ""


def test_the_picture_is_written_where_the_table_shows_it(recorded, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("docs_plots", record.REPOSITORY / "docs" / "plots.py")
    plots = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plots)
    (tmp_path / "docs").mkdir()
    text = tables.markdown(tables.TABLES["peers"], {"nvidia-x1": {"peers": recorded}})
    monkeypatch.setattr(sys, "argv", ["docs/plots.py"])
    assert plots.main(tmp_path) == 0
    (path,) = (tmp_path / "docs").iterdir()
    assert f"(../../docs/{path.name})" in text
    monkeypatch.setattr(sys, "argv", ["docs/plots.py", "--check"])
    assert plots.main(tmp_path) == 0
    path.write_text(path.read_text().replace("1,500", "1,600"))
    assert plots.main(tmp_path) == 1
