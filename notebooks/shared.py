"""What the notebooks share: the device, how plots look, and cells that need a model."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

from emulator import Checks, Costs
from engine import device, hub
from grader.curriculum import days

# Told apart by how dark they are too, so that a print without colour can be read.
INK, BLUE, ORANGE, GREY, PALE = "#14213d", "#2f6690", "#e8871e", "#97a3b0", "#dfe5eb"
STYLE = {
    "figure.figsize": (7.4, 3.0),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, INK, GREY]),
    "legend.frameon": False,
    "image.cmap": "Greys",
}


def box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    words: str = "",
    colour: str = "white",
    edge: str | None = GREY,
    line: float = 0.8,
    hatch: str | None = None,
) -> None:
    """Draw a rectangle with words in its middle, white on what is dark."""
    look = {
        "facecolor": colour,
        "edgecolor": edge,
        "linewidth": line if edge else 0,
        "hatch": hatch,
    }
    axes.add_patch(Rectangle((x, y), width, height, **look))
    ink = "white" if colour in (BLUE, INK) else INK
    middle = (x + width / 2, y + height * 0.48)
    axes.text(*middle, words, ha="center", va="center", color=ink, fontsize=8.5)


def begin() -> None:
    """Choose the emulator, set the plots' look, and teach the notebook the cell magic `%%needs MODEL`."""
    device.select("cpu")
    plt.rcParams.update(STYLE)
    set_matplotlib_formats("retina")
    get_ipython().register_magic_function(_needs, "cell", "needs")
    print(f"kernels run on: {device.label()}")


def _needs(model: str, cell: str) -> None:
    """Run a cell where the model is here; elsewhere say that it is NOT RUN, and how to get the model."""
    try:
        hub.require(model.strip())
    except hub.ModelMissing as missing:
        print(f"NOT RUN: {missing}")
        return
    shell = get_ipython()
    exec(compile(shell.transform_cell(cell), f"<a cell that needs {model}>", "exec"), shell.user_ns)


def lesson(number: int) -> ModuleType:
    """The reference solution of a day that the engine does not keep, as a module."""
    day = days()[number - 1]
    spec = importlib.util.spec_from_file_location(day.folder_name, day.solution / "lesson.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_launches: list[tuple[str, Costs]] = []
_COUNTING = Checks(
    schedules=1, costs=True, report=lambda kernel, costs: _launches.append((kernel, costs))
)


@contextlib.contextmanager
def counted() -> Iterator[list[tuple[str, Costs]]]:
    """Count what the engine's operations cost: name and costs of each kernel that is launched within."""
    mine: list[tuple[str, Costs]] = []
    _launches.clear()
    device.select("cpu", check=_COUNTING)
    try:
        yield mine
    finally:
        device.select("cpu")
        mine += _launches


def random_floats(*shape: int, seed: int) -> np.ndarray:
    """Normally distributed float32 numbers, the same in every run."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
