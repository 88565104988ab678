"""This engine beside its peers: the same model, prompt and number of tokens, on one machine, in one run.

    python -m benchmarks.peers [--model NAME] [--only NAME …] [--out results]

writes `results/<gpu>/peers.json` as figures come; a run that is ended keeps what it has. Each peer runs in a process of its
own: one that crashes, hangs or fails is recorded so, and the others go on. The exit status is 1 where one failed, 4 where no
GPU answers. On the H200 a run with all defaults is made for ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import record, workers
from benchmarks.peers.protocol import Peer, Plan
from benchmarks.peers.registry import OURS, PEERS
from benchmarks.peers.worker import RANDOM

LISTS = ("first", "batches")  # of which a peer has several
LEAST_S = 40.0  # less than that, and no other peer is begun
GRACE_S = 60.0  # a figure that was begun in time may take so much longer
Start = Callable[[dict[str, Any], float, Callable[[workers.Line], None]], str | None]


@dataclass
class Run:
    """A run of several peers, and its record.

    Attributes:
        budget_s: seconds of the whole run.
        limit_s: seconds after which a peer begins no other figure.
        start: runs a job in a process of its own: job, seconds, who gets the lines; why it did not end well, or None.
    """

    model: str
    plan: Plan
    device: str
    out: Path
    name: str
    budget_s: float
    limit_s: float
    start: Start
    clock: Callable[[], float] = time.monotonic
    machine: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget_s - (self.clock() - self._began)

    @property
    def _spent(self) -> str:
        return f"the run's {self.budget_s:.0f} s were spent"

    def describe(self) -> str | None:
        """Ask for the machine; why there is none, or None."""
        failed = self._job("machine", [], {})
        whole = self.figures.pop("whole", {})
        return failed or whole.get("not_run") or whole.get("failed")

    def measure(self, peer: Peer) -> None:
        """One peer, if there is time."""
        entry = self.entries[peer.name] = {
            "name": peer.name, "label": peer.label, "weights": peer.weights,
            "measured": list(peer.measured), "first": [], "batches": [],
        }  # fmt: skip
        if self.left() < LEAST_S:
            entry["not_run"] = self._spent
            print(f"{peer.name}: NOT RUN: {entry['not_run']}", flush=True)
        else:
            began = self.clock()
            if failed := self._job("measure", [peer], {}):
                # Ended for the others' sake, it has not failed; figures that it has stay.
                spent = self.left() < 1 and failed.startswith(workers.ENDED)
                state, why = ("not_run", f"{self._spent}: {failed}") if spent else ("failed", failed)
                entry[state] = why
                print(f"{peer.name}: {'NOT RUN' if spent else 'FAILED'}: {why}", flush=True)
            entry["seconds"] = round(self.clock() - began, 1)
        self.write()

    def check(self, peers: Sequence[Peer]) -> None:
        """How the texts of those that were measured agree with float32's."""
        known = [peer for peer in peers if _has_figures(self.entries.get(peer.name, {}))]
        if not known:
            return
        if self.left() < LEAST_S:
            self._not_checked(known, {"not_run": self._spent})
            return
        tokens = {peer.name: self.entries[peer.name]["tokens"] for peer in known if "tokens" in self.entries[peer.name]}
        if failed := self._job("check", known, tokens):
            self._not_checked(known, {"failed": failed})

    def _not_checked(self, peers: Sequence[Peer], why: dict[str, str]) -> None:
        for peer in peers:
            self.entries[peer.name].setdefault("check", why)
        self.write()

    def _job(self, task: str, peers: Sequence[Peer], tokens: dict[str, list[int]]) -> str | None:
        left = self.left()
        soft = min(self.limit_s, left - LEAST_S / 2)
        job = {
            "task": task, "peers": [peer.name for peer in peers], "model": self.model, "plan": self.plan.as_json(),
            "device": self.device, "seconds": soft, "tokens": tokens,
        }  # fmt: skip
        return self.start(job, min(soft + GRACE_S, left), self.heard)

    def heard(self, line: workers.Line) -> None:
        """A figure has come."""
        name, section, value = line["peer"], line["section"], line["value"]
        if section == "machine":
            self.machine = value
            return
        entry = self.entries[name] if name else self.figures
        if section in LISTS:
            entry[section].append(value)
        elif section == "whole" and name:
            entry |= value
        else:
            entry[section] = value
        if name and (said := in_words(section, value)):
            print(f"{name}: {said}", flush=True)
        self.write()

    def write(self) -> None:
        """The record so far."""
        if not self.machine:
            return
        folder = self.out / record.slug(self.machine.get("gpu", "cpu"))
        record.write(
            folder, self.name, self.machine,
            {
                "model": model_name(self.model), "plan": self.plan.as_json(), "budget_s": self.budget_s,
                **self.figures, "peers": list(self.entries.values()),
            },
        )  # fmt: skip

    def failures(self) -> list[str]:
        """Peers of which something failed."""
        return [name for name, entry in self.entries.items() if '"failed"' in json.dumps(entry)]


def _has_figures(entry: dict[str, Any]) -> bool:
    return "tokens" in entry or any("tokens_per_s" in one for one in entry.get("batches", []))


def model_name(name: str) -> str:
    """For people; of a folder its last name."""
    return {RANDOM: "Llama-3.2-1B, random weights", "smollm2-135m": "SmolLM2-135M"}.get(name, Path(name).name)


def in_words(section: str, value: Any) -> str:
    """One figure, on one line; "" for what is none."""
    if section in ("tokens", "about") or not isinstance(value, dict):
        return ""
    if why := value.get("failed") or value.get("not_run"):
        return f"{section}: {'FAILED' if 'failed' in value else 'NOT RUN'}: {why}"
    if section == "first":
        return f"first token of {value['prompt_tokens']:,} after {1e3 * value['first']['median_s']:.2f} ms"
    if section in ("decode", "batches"):
        texts = f"{value['texts']} texts: " if "texts" in value else ""
        return f"{texts}{value['tokens_per_s']:,.0f} tokens/s{'' if value.get('steady', True) else ', not steady'}"
    if section == "check":
        error = f"relative error {value['error']:.1e}, " if "error" in value else ""
        return f"{error}{value['equal']} tokens float32's, {value['ties']} ties, {value['wrong']} others"
    return ""


def in_a_process(log: Path | None) -> Start:
    """Jobs in processes of their own; what they print is added to that file."""

    def start(job: dict[str, Any], seconds: float, heard: Callable[[workers.Line], None]) -> str | None:
        return workers.run("benchmarks.peers.worker", ["--job", json.dumps(job)], seconds, heard, log)

    return start


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers above 0, with commas between them."""
    found = tuple(sorted({int(part) for part in text.split(",")}))
    if found[0] < 1:
        raise ValueError(text)
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument("--model", default=RANDOM, help=f"{RANDOM} (random weights), smollm2-135m, or a folder")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        metavar="NAME",
        help=f"of {', '.join(names)}; the record is peers-only.json then",
    )
    parser.add_argument("--prompt", type=int, default=usual.prompt, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=usual.tokens, help="that follow each")
    parser.add_argument("--batches", type=counts, default=usual.batches, help="texts at once: 1,8,32,64")
    parser.add_argument(
        "--ttft", type=counts, default=usual.ttft, help="prompts timed to the first token: 16,128,512,2048"
    )
    parser.add_argument(
        "--budget", type=float, default=570.0, help="seconds; no other peer is begun when they are spent"
    )
    parser.add_argument("--limit", type=float, default=150.0, help="seconds after which a peer begins no other figure")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="no run of a figure begins after so many")
    parser.add_argument(
        "--compile-mode", default=usual.compile_mode, help="of torch.compile: reduce-overhead, max-autotune"
    )
    parser.add_argument("--out", type=Path, default=None, help="folder for the record; default: results")
    parser.add_argument("--log", type=Path, help="file for what the peers print")
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, uncompiled, only to see that all of it runs; needs --out"
    )
    options = parser.parse_args(arguments)
    if options.prompt < 1 or options.tokens < 2:
        parser.error(f"--prompt {options.prompt} --tokens {options.tokens}: expected at least 1 and 2")
    if options.rehearse and options.out is None:
        parser.error("--rehearse: its times mean nothing, so name another folder than results with --out")
    return options


def main(arguments: Sequence[str] | None = None, start: Start | None = None) -> int:
    """Measure all; 0 when nothing failed, 1 when something did, 4 where there is no GPU."""
    options = parse(arguments)
    plan = Plan(
        options.prompt, options.tokens, options.batches, options.ttft, options.seconds,
        compile_mode="" if options.rehearse else options.compile_mode,
    )  # fmt: skip
    name = "peers" if options.model == RANDOM else f"peers-{record.slug(Path(options.model).name)}"
    run = Run(
        options.model, plan, "cpu" if options.rehearse else "cuda", options.out or record.REPOSITORY / "results",
        f"{name}-only" if options.only else name, options.budget, options.limit, start or in_a_process(options.log),
    )  # fmt: skip
    if (reason := run.describe()) is not None:
        print(f"NOT RUN: {reason}", file=sys.stderr)
        return 4
    if options.rehearse:
        run.figures["rehearsal"] = "on the CPU, uncompiled: these times mean nothing"
    wanted = [peer for peer in PEERS if options.only is None or peer.name in options.only]
    ours = [peer for peer in wanted if peer in OURS]
    others = [peer for peer in wanted if peer not in OURS]
    for peer in ours:
        run.measure(peer)
    run.check(ours)
    for peer in others:
        run.measure(peer)
    run.check([peer for peer in others if peer.module != "llama_cpp"])
    if failed := run.failures():
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
