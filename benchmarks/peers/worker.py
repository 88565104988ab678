"""One job of a run of peers, in a process of its own: see benchmarks/peers/__main__.py, which starts it."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import workers
from benchmarks.peers.protocol import NotRun, Peer, Plan
from benchmarks.peers.registry import PEERS
from engine import device, hub, machine
from engine.model import Model, load

RANDOM = "llama-3.2-1b"
GOLDENS = ("torch", "transformers")
OURS = ("benchmarks", "emulator", "engine", "grader")
Say = Callable[[str, str, Any], None]


def open_model(name: str) -> Model:
    """Llama 3.2 1B with weights from a seed, a model that was pulled, or a folder.

    Raises:
        NotRun: it has not been pulled.
    """
    if name == RANDOM:
        from benchmarks.suites.roofline import random_model

        return random_model()
    folder = Path(name) if "/" in name else hub.find(name)
    if folder is None:
        raise NotRun(f"python -m engine pull {name}")
    return load(folder)


def about_machine(say: Say) -> None:
    """The machine, and the bandwidth that figures stand beside."""
    on_gpu = device.name() == "cuda"
    say("", "machine", machine.gpu() if on_gpu else machine.host())
    if on_gpu:
        from engine import ceilings

        say("", "read", ceilings.bandwidths()["read"])


def measured(peer: Peer, model: Model, plan: Plan, in_time: Callable[[], bool], say: Say) -> None:
    """All figures of one peer."""
    module = importlib.import_module(f"benchmarks.peers.{peer.module}")
    if hasattr(module, "figures"):
        found = module.figures(model, plan, in_time, **peer.options)
    else:
        from benchmarks.peers import measure

        prepared = module.prepare(model, plan, **peer.options)
        say(peer.name, "about", dict(prepared.about))
        found = measure.figures(prepared, plan, peer.measured, model.config.vocab_size, in_time)
    for section, value in found:
        say(peer.name, section, value)


def checked(peers: Sequence[Peer], model: Model, plan: Plan, tokens: dict[str, list[int]], say: Say) -> None:
    """How the peers' texts agree with float32's."""
    from benchmarks.peers import check

    for name, value in check.figures(model, plan, peers, tokens):
        say(name, "check", value)


def run(job: dict[str, Any], say: Say) -> None:
    """One job: of the machine, of one peer, or the check of several."""
    began = time.monotonic()
    peers = [peer for peer in PEERS if peer.name in job["peers"]]
    section = "check" if job["task"] == "check" else "whole"

    def all_say(value: dict[str, str]) -> None:
        for name in [peer.name for peer in peers] or [""]:
            say(name, section, value)

    try:
        device.select(job["device"])
        if job["task"] == "machine":
            about_machine(say)
            return
        model, plan = open_model(job["model"]), Plan.of_json(job["plan"])
        if job["task"] == "check":
            checked(peers, model, plan, job["tokens"], say)
        else:
            measured(peers[0], model, plan, lambda: time.monotonic() - began < job["seconds"], say)
    except (NotRun, device.DeviceError) as error:
        all_say({"not_run": str(error)})
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in OURS or not package:
            raise
        how = ": pip install -e '.[goldens]'" if package in GOLDENS else ""
        all_say({"not_run": f"{package} is not installed{how}"})
    except Exception as error:
        import traceback

        traceback.print_exc()
        all_say({"failed": workers.one_line(error)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job; it says what it finds as it finds it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=json.loads, required=True)
    parser.add_argument("--lines", type=Path, required=True)
    options = parser.parse_args(arguments)
    workers.end_with_parent()

    def say(peer: str, section: str, value: Any) -> None:
        workers.say(options.lines, {"peer": peer, "section": section, "value": value})

    run(options.job, say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
