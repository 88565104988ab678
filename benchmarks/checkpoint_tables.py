"""The tables of a checkpoint's write-up (days 25, 34, 43, 50, 60): what day 25 makes of the records of all machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.checkpoint import Entry, speed_table
from engine.checkpoint_report import kernel_table

Machines = Mapping[str, Mapping[str, Any]]
STEP = "python -m engine roofline smollm2-135m --json > results/<machine>/step.json"


@dataclass(frozen=True)
class Engine:
    """Whose speed a checkpoint compares.

    Attributes:
        name: in the table.
        record: name of the file in each machine's folder.
        options: of `engine bench`, that make it.
    """

    name: str
    record: str
    options: str = ""

    @property
    def command(self) -> str:
        """What makes the record; <machine> is a folder there."""
        options = f"{self.options} " if self.options else ""
        return f"python -m engine bench smollm2-135m {options}--out results/<machine>/{self.record}.json"


LOOP = Engine("day 21's loop", "bench-plain", "--plain")  # the baseline of all checkpoints
FUSED = Engine("fused steps", "bench")


def not_run(file: str, command: str) -> str:
    """A table of one row, in place of one that has no record yet."""
    return f"| record | |\n| --- | --- |\n| `results/<machine>/{file}.json` | NOT RUN: `{command}` makes it |\n"


def speeds(machines: Machines, engines: Sequence[Engine] = (LOOP, FUSED)) -> str:
    """Every model that has a record, on every machine; the first engine is the baseline."""
    found = [
        Entry(engine.name, records[engine.record])
        for records in machines.values()
        for engine in engines
        if engine.record in records
    ]
    planned = [Entry(engine.name, None, engine.command) for engine in engines]
    names = sorted({entry.record["model"] for entry in found if entry.record is not None})
    pages = [
        speed_table(
            [entry for entry in found if entry.record is not None and entry.record["model"] == name] + planned,
            engines[0].name,
        )
        for name in names
    ]
    return "\n".join(pages) or not_run(engines[0].record, engines[0].command)


def kernels(machines: Machines) -> str:
    """Where the time of a decode step goes, on every machine that has a record of it."""
    return "\n".join(kernel_table(step) for step in steps(machines)) or not_run("step", STEP)


def steps(machines: Machines) -> Iterator[Mapping[str, Any]]:
    """The decode steps in the records: of `engine roofline`, and of the suite that runs it on a GPU."""
    for records in machines.values():
        if "step" in records:
            yield records["step"]
        suite = records.get("roofline", {"models": []})
        for entry in suite["models"]:
            for figures in entry.get("passes", ()):
                if figures["tokens"] == 1:
                    yield {**suite, **figures, "model": entry["model"]}
