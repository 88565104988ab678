"""Draws the plots of the recorded machines, for the pages: rooflines, and engines side by side.

    python docs/plots.py [--check]

Each `results/<machine>/roofline.json` gives a picture for each of its models, each `peers*.json` one. --check only compares:
the figures in a picture's description with those of the record, and nothing else, since another version of matplotlib draws
other lines.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from benchmarks import peer_plot, peer_tables, roofline_tables  # noqa: E402
from engine import roofline_plot  # noqa: E402


def pictures(root: Path = DOCS.parent) -> Iterator[tuple[Path, str]]:
    """File and content of each picture that the records give."""
    for path in sorted((root / "results").glob("*/roofline.json")):
        record = json.loads(path.read_text())
        for entry in record["models"]:
            if "passes" not in entry:
                continue
            where = f"{entry['model']} on {record['machine']['gpu']}"
            name = roofline_tables.picture(path.parent.name, entry["model"])
            yield root / "docs" / name, roofline_plot.svg(where, entry["passes"], record["ceilings"])
    for path in sorted((root / "results").glob("*/peers*.json")):
        record = json.loads(path.read_text())
        if not path.stem.endswith("-only") and peer_plot.described(record):
            yield root / "docs" / peer_tables.picture(path.parent.name, path.stem), peer_plot.svg(record)


def said(svg: str) -> str:
    """Title and description of a picture."""
    return " ".join(re.findall(r"<title>.*?</title>|<desc>.*?</desc>", svg, re.DOTALL))


def main(root: Path = DOCS.parent) -> int:
    """Write, or with --check compare; 1 when a picture is out of date."""
    check, stale = "--check" in sys.argv[1:], 0
    for path, content in pictures(root):
        old = path.read_text() if path.is_file() else ""
        if said(old) == said(content):
            continue
        stale += 1
        print(f"{'out of date' if check else 'written'}: {path.relative_to(root)}")
        if not check:
            path.write_text(content)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
