"""Takes the README's pictures: runs the real commands and draws what they print as SVG.

    python docs/capture.py            writes docs/*.svg
    python docs/capture.py --check    runs the commands again; 1 when a picture shows something else, timings aside

The commands run as on a fresh machine without a GPU: no model pulled, a fixed seed, the emulator.
"""

from __future__ import annotations

import difflib
import html
import io
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

DOCS = Path(__file__).resolve().parent
COLUMNS = 96
SEED = "60"
CHARACTER, LINE = 12.2, 24.4  # the size of one character cell as Rich draws it
THEME = TerminalTheme(
    (24, 26, 31),
    (220, 223, 228),
    [(24, 26, 31), (240, 113, 120), (127, 200, 120), (230, 192, 105), (110, 170, 240), (198, 140, 230), (90, 195, 205),
     (220, 223, 228)],
)  # fmt: skip
# Rich's own frame loads a font from the network; a picture in a page must stand alone. The places in braces are Rich's, the
# two in capitals ours: Rich's measures leave no room for a margin on the right.
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 WIDTH HEIGHT" role="img">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre;
}}
{styles}
</style>
<rect width="WIDTH" height="HEIGHT" rx="8" fill="#181a1f"/>
<g transform="translate(16, 12)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@dataclass(frozen=True)
class Capture:
    """One picture: a command of this repository's and how it ends."""

    name: str
    arguments: tuple[str, ...]
    status: int

    @property
    def path(self) -> Path:
        """The picture's file."""
        return DOCS / f"{self.name}.svg"

    @property
    def shown(self) -> str:
        """The command as the picture shows it."""
        return " ".join(["python", "-m", *self.arguments])


CAPTURES = (
    Capture("passed", ("grader", "day17", "--solution"), 0),
    Capture("wrong", ("grader", "day07", "--mutant", "missing-barrier"), 1),
)


def run(capture: Capture) -> str:
    """What the command prints, with its colours.

    Raises:
        RuntimeError: it did not end as it should.
    """
    with tempfile.TemporaryDirectory() as home:
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "WARP60_DEVICE")}
        environment = {
            **kept,
            "COLUMNS": str(COLUMNS),
            "FORCE_COLOR": "1",
            "TTY_INTERACTIVE": "0",  # nothing that moves
            "TERM": "xterm-256color",
            "WARP60_HOME": home,
        }
        done = subprocess.run(
            [sys.executable, "-m", *capture.arguments, "--seed", SEED, "--device", "cpu"],
            cwd=DOCS.parent, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != capture.status:
        raise RuntimeError(f"{capture.shown}: status {done.returncode}, expected {capture.status}\n{done.stderr}")
    return done.stdout


def draw(capture: Capture, printed: str) -> str:
    """The picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {capture.shown}", style="dim"))
    console.print(Text.from_ansi(printed.rstrip("\n")))
    svg = console.export_svg(theme=THEME, code_format=FRAME, unique_id=capture.name)
    rows = 1 + printed.rstrip("\n").count("\n") + 1
    svg = svg.replace("WIDTH", f"{COLUMNS * CHARACTER + 32:.0f}").replace("HEIGHT", f"{rows * LINE + 24:.0f}")
    svg = re.sub(r'<text [^>]*x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+"[^>]*>([^<]*)</text>', _tight, svg)
    return re.sub(r"[ \t]+\n", "\n", svg).rstrip("\n") + "\n"


def _tight(match: re.Match[str]) -> str:
    """One piece of text without the blanks around it: some viewers drop those and shift the rest."""
    text = html.unescape(match[3])
    inner = text.strip()
    if not inner:
        return ""
    x = float(match[1]) + CHARACTER * (len(text) - len(text.lstrip()))
    style = re.search(r'class="[^"]*"', match[0])
    width = f'textLength="{CHARACTER * len(inner):.1f}"'
    shown = html.escape(inner).replace("\xa0", "&#160;")
    return f'<text {style[0] if style else ""} x="{x:.1f}" y="{match[2]}" {width}>{shown}</text>\n'


def words(svg: str) -> list[str]:
    """The text of a picture, line by line, with `N s` for every time.

    A time is as long as it happens to be, and what stands after it moves: only the words count.
    """
    lines: dict[str, str] = {}
    for y, text in re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', svg):
        lines[y] = lines.get(y, "") + " " + html.unescape(text).replace("\xa0", " ")
    return [re.sub(r"\b\d+\.\d+ s\b", "N s", " ".join(line.split())) for line in lines.values()]


def main() -> int:
    """Write, or with --check compare."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for capture in CAPTURES:
        svg = draw(capture, run(capture))
        old = capture.path.read_text() if capture.path.is_file() else ""
        if words(old) == words(svg):
            continue
        stale += 1
        print(f"{'out of date' if check else 'written'}: {capture.path.relative_to(DOCS.parent)}")
        if check:
            print("\n".join(difflib.unified_diff(words(old), words(svg), "the picture", "the command", lineterm="")))
        else:
            capture.path.write_text(svg)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
