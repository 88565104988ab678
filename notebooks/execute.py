"""Runs the notebooks on the CPU and keeps what they print and draw.

    python notebooks/execute.py [NAME…]

A notebook with a fault is left as it was. Needs the extra `notebooks`: pip install -e '.[notebooks]'.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
TIME_LIMIT_S = 240  # of a cell, on a machine that does other things too
COLOURS = 256  # of a stored picture: plots have few, and a palette makes them three times smaller


def notebooks() -> list[Path]:
    """All of them, in order."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path, environment: Mapping[str, str] | None = None) -> nbformat.NotebookNode:
    """A notebook after a run from top to bottom in a fresh process, without anything of this machine or moment.

    Args:
        environment: variables that the run gets beside those of this process.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIME_LIMIT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute(env={**os.environ, "WARP60_DEVICE": "cpu", **(environment or {})})
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            picture = output.get("data", {}).get("image/png")
            if picture:
                output.data["image/png"] = smaller(picture)
                output.metadata.setdefault("image/png", {})["alt"] = caption(after)
    return notebook


def caption(cell: nbformat.NotebookNode | None) -> str:
    """The first paragraph of the words under a picture: what a reader gets who cannot see it."""
    words = (
        cell.source.split("\n\n", 1)[0] if cell is not None and cell.cell_type == "markdown" else ""
    )
    return " ".join(re.sub(r"[*`]", "", words).split())


def smaller(picture: str) -> str:
    """A PNG in base64, with a palette."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    out = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode() + "\n"


def main() -> None:
    """Run those named, or all, and store them with their outputs."""
    chosen = [path for path in notebooks() if path.stem in sys.argv[1:] or not sys.argv[1:]]
    if len(chosen) < len(sys.argv) - 1:
        sys.exit(f"there are {', '.join(path.stem for path in notebooks())}")
    for path in chosen:
        nbformat.write(executed(path), path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
