"""Every kernel of a decode step and of a prompt, timed inside the pass, beside the machine's ceilings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.models import LLAMA_3_2_1B, REAL, SEED
from engine import config, hub, model, roofline_report
from engine.ops.arguments import BFLOAT16, FLOAT32
from grader import file_oracles
from grader.spec import LlamaConfig

PASSES = ((1, 256), (512, 512))  # tokens that go in, tokens in the caches afterwards
DEVIATION = 0.02  # of random weights, as training begins with


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Every model, every pass.

    Raises:
        RuntimeError: the ceilings were not measured in this run.
    """
    if "ceilings" not in context:
        raise RuntimeError("these figures stand beside the machine's ceilings: run the suite ceilings with it")
    models = {"Llama-3.2-1B, random weights": random_model, "SmolLM2-135M": real_model}
    return {
        "seed": SEED,
        "ceilings": {name: context["ceilings"][name] for name in ("read", "product", "launch")},
        "models": [{"model": name, **_measured(make, context["ceilings"])} for name, make in models.items()],
    }


def _measured(make: Callable[[], model.Model | None], ceilings: dict[str, Any]) -> dict[str, Any]:
    """All passes of a model, or why they were not run."""
    import cupy

    try:
        ours = make()
        if ours is None:
            return {"not_run": f"python -m engine pull {REAL}"}
        return {"passes": [roofline_report.measured(ours, tokens, length, ceilings) for tokens, length in PASSES]}
    except MemoryError as error:  # CuPy's own error derives from it
        return {"not_run": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no memory'}"}
    finally:
        cupy.get_default_memory_pool().free_all_blocks()


def real_model() -> model.Model | None:
    """The model that was pulled, if it was."""
    folder = hub.find(REAL)
    return None if folder is None else model.load(folder)


def random_model() -> model.Model:
    """Llama 3.2 1B with weights from a seed: times do not depend on what the numbers are."""
    import cupy

    generator = cupy.random.default_rng(SEED)

    def weight(shape: tuple[int, ...]) -> Any:
        numbers = generator.standard_normal(shape, np.float32) * FLOAT32.type(DEVIATION)
        return (numbers if len(shape) > 1 else numbers + FLOAT32.type(1)).astype(BFLOAT16)

    shapes = file_oracles.shapes(LlamaConfig(LLAMA_3_2_1B))
    return model.assemble(config.parse(LLAMA_3_2_1B), {name: weight(shape) for name, shape in shapes.items()})
