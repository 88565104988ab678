"""A tiny model, a plan for it, and made-up engines and processes."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers import __main__ as command
from benchmarks.peers import registry
from benchmarks.peers.protocol import Plan, Prepared
from engine import config, device
from engine.benchmark import Machine
from engine.model import Model, assemble
from grader.goldens import tiny

WIDE = {"hidden_size": 96, "intermediate_size": 224}  # whole blocks of 32, as llama.cpp's 8 bits want
PLAN = Plan(prompt=9, tokens=12, batches=(1, 2, 4), ttft=(4, 16), compile_mode="")
VOCAB = 259


def make_model(**changed) -> Model:
    changed = {**WIDE, **changed}
    weights = {key: device.to_device(w) for key, w in tiny.weights("tiny-llama", **changed).items()}
    return assemble(config.parse({**tiny.LLAMA, **changed}), weights)


def prepared(machine: Machine, together: Machine | None = None) -> Prepared:
    """Machines of known cost: one text, and several at once, of which a step takes as long as one text's."""
    other = together or machine
    return Prepared(
        machine.go_on, lambda prompts, tokens: ([0] * len(prompts) for _ in other.go_on(prompts[0], tokens)),
        machine.instruments(),
    )  # fmt: skip


MACHINE = {"gpu": "NVIDIA X1", "cpu": "c", "cores": 2, "python": "3.12"}
TIME = {"median_s": 1e-3, "quartile1_s": 1e-3, "quartile3_s": 1e-3, "repeats": 9}


class Jobs:
    """Processes that end at once: what they say is made up, and so is the time that they take."""

    def __init__(self, failing: dict[str, str] | None = None, takes: float = 10.0, gpu: bool = True) -> None:
        self.failing, self.takes, self.gpu = failing or {}, takes, gpu
        self.now, self.jobs = 0.0, []

    def __call__(self, job, seconds, heard):
        self.jobs.append((job, seconds))
        self.now += self.takes
        if job["task"] == "machine":
            if not self.gpu:
                heard({"peer": "", "section": "whole", "value": {"not_run": "no GPU answers"}})
                return None
            heard({"peer": "", "section": "machine", "value": MACHINE})
            heard({"peer": "", "section": "read", "value": {"bytes_per_s": 4e12, **TIME}})
            return None
        for name in job["peers"]:
            if job["task"] == "check":
                heard({"peer": name, "section": "check", "value": self.check(name)})
                continue
            for section, value in self.figures(name):
                heard({"peer": name, "section": section, "value": value})
        return self.failing.get(job["peers"][0])

    @staticmethod
    def check(name):
        error = {"error": 2e-6, "worst_error": 3e-6} if name in ("ours-bfloat16", "ours-int8") else {}
        return {**error, "tokens": 12, "equal": 11, "ties": 1, "wrong": 0}

    def figures(self, name):
        number = [peer.name for peer in registry.PEERS].index(name)
        peer = registry.PEERS[number]
        if peer.module == "llama_cpp":
            yield "whole", {"not_run": "llama-bench is not on the PATH"}
            return
        state = {"clocks.sm": "1980", "clocks.mem": "3201", "temperature.gpu": "40", "power.draw": "300.00"}
        timed = {"first": TIME, "token": TIME, "steady": True, "gpu_before": state, "gpu_after": state}
        yield "about", {"weight_bytes": 2e9} if peer.module == "ours" else {}
        if "decode" in peer.measured:
            yield "tokens", list(range(12))
            yield "decode", {"prompt_tokens": 9, "tokens": 12, "tokens_per_s": 1500.0 - 10 * number, **timed}
        if name in self.failing:
            return
        for length in PLAN.ttft if "first" in peer.measured else ():
            yield "first", {"prompt_tokens": length, "tokens": 1, "tokens_per_s": None, **timed}
        for texts in PLAN.batches[:0:-1] if "batches" in peer.measured else ():
            yield "batches", {"texts": texts, "tokens": 12, "tokens_per_s": 900.0 * texts, **timed}


def run_all(jobs: Jobs, folder: Path, *more: str, monkeypatch) -> int:
    monkeypatch.setattr(command.Run, "left", lambda self: self.budget_s - jobs.now)
    arguments = ["--prompt", "9", "--tokens", "12", "--batches", "1,2,4", "--ttft", "4,16", "--out", str(folder), *more]
    return command.main(arguments, start=jobs)


def read_record(folder: Path, name: str = "peers") -> dict:
    return json.loads((folder / "nvidia-x1" / f"{name}.json").read_text())
