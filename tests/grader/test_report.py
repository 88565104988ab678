"""The report: what it says, that everybody can read it, and that a browser shows it; the history that it is made of."""

from __future__ import annotations

import base64
import dataclasses
import html.parser
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from grader import pages, progress
from grader.commands.report import report as command
from grader.curriculum import REPOSITORY, days, find
from grader.progress import Grading, Pass
from grader.report import facts, page, plots
from grader.report.page import ReportError
from grader.verdict import Check, Report, Verdict

DAY = find("day07")
EVIL = "<script>alert(1)</script>"
COSTS = {
    "mine": {"global bytes": 57600, "bank conflicts": 0, "barriers": 24, "milliseconds": 1.25},
    "reference": {"global bytes": 48000, "bank conflicts": 0, "barriers": 24, "milliseconds": 1.0},
    "limits": {"global bytes": 1.25, "barriers": 2.0},
}
TIMED = {
    "mine": {"median_s": 1.2e-5, "spread_s": 3e-7, "repeats": 50},
    "reference": {"median_s": 1.17e-5, "spread_s": 2e-7, "repeats": 50},
    "GB/s": 3800.0,
}
NO_GPU = {"name": "speed", "verdict": "NOT_RUN", "detail": "no GPU here: 4,096 × 2,048 is timed on one", "figures": {}}


def check(name, share=None, verdict="PASSED", detail="err", **figures):
    figures = figures or ({} if share is None else {"share_of_budget": share})
    return {"name": name, "verdict": verdict, "detail": detail, "figures": figures}


def graded(day, when, *checks, verdict="PASSED", device="cpu (emulated CUDA)", source="0123456789abcdef"):
    return Grading(day.name, verdict, device, 11 * day.number, source, when.isoformat(timespec="seconds"), 1.2, checks)


@pytest.fixture
def learner(monkeypatch):
    """Someone who has passed four days, edited one of them since, and failed a fifth."""
    course = [dataclasses.replace(d, written=d.number < 9, files=("lesson.py",)) for d in days()]
    start = datetime(2026, 9, 1, 21, 30, tzinfo=UTC)
    history, passed = [], {}
    for n, day in enumerate(course[:4]):
        device = "NVIDIA H200" if n == 1 else "cpu (emulated CUDA)"
        cases = [
            check("1 × 1024 float32", 0.02 + n / 10),
            check("3 × 1000 float32", 0.38),
            check("a row of zeros", 0.0),
        ]
        speed = check("speed", detail="4,096 × 2,048: 3,800 GB/s, 0.97 × the reference", **TIMED) if n == 1 else NO_GPU
        when = start + timedelta(days=n)
        history.append(graded(day, when - timedelta(hours=1), check("1 × 1024 float32", 7.0, "WRONG"), verdict="WRONG"))
        history.append(
            graded(day, when, *cases, check("memory traffic", detail="57,600 bytes", **COSTS), speed, device=device)
        )
        passed[day.name] = Pass("gpu" if n == 1 else "cpu", 11 * day.number, "0123456789abcdef", history[-1].when)
    history.append(
        graded(course[4], start + timedelta(days=6), check(EVIL, 1234.5, "WRONG", f"wrong: {EVIL}"), verdict="WRONG")
    )
    history.append(
        graded(course[5], start + timedelta(days=7), check("sizes", detail="exact"), check("more", detail="exact"))
    )
    monkeypatch.setattr(progress, "is_stale", lambda day, _: day.number == 3)
    return facts.of(course, passed, history)


class Reader(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_data(self, data):
        if data.strip():
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.words)


# ---- what it says ------------------------------------------------------------------------------------------------------


def test_the_map_has_sixty_days_with_their_states(learner):
    assert [d.state for d in learner.days[:10]] == [
        "passed", "passed", "edited", "passed", "failed", "to do", "to do", "to do", "absent", "absent",
    ]  # fmt: skip
    text = Reader(page.html(learner)).text
    assert "warp60: 3 of 60 days" in text
    assert all(f"{d.number} · {d.title}" in text for d in days())
    for words in ("✓ passed on cpu", "✓ passed on gpu", "~ edited since it passed", "✗ wrong", "– not written yet"):
        assert words in text
    assert "Next: day 3, " in text


def test_evidence_errors_costs_and_speed(learner):
    text = Reader(page.html(learner)).text
    assert "passed 2026-09-02 21:30 UTC device NVIDIA H200 seed 22 source hash 0123456789abcdef gradings 2" in text
    assert "1 × 1024 float32 12 %" in text
    assert "global bytes 57,600 48,000 1.20 × 1.25 ×" in text
    assert "milliseconds 1.25 1 1.25 ×" in text
    assert (
        "Speed on NVIDIA H200, 2026-09-02: 4,096 × 2,048: 3,800 GB/s, 0.97 × the reference. yours 12.0 ± 0.15 µs"
        in text
    )
    assert "NOT RUN speed: no GPU here: 4,096 × 2,048 is timed on one" in text
    assert "1,234 × , over" in text.replace("×,", "× ,")
    assert "2 cases are exact" in text


def test_gradings_without_the_reference_say_so():
    grading = graded(DAY, datetime.now(UTC), check("memory traffic", verdict="NOT_RUN", mine=COSTS["mine"]))
    found = facts.of(days(), {}, [grading])
    (cost, *_) = [c for c in found.days[6].costs if c.counter == "global bytes"]
    assert cost.cells == ("57,600", "not here", "", "")
    assert "global bytes 57,600 not here" in Reader(page.html(found)).text


def test_before_anything_was_graded(monkeypatch):
    found = facts.of(days(), {}, [])
    text = Reader(page.html(found)).text
    assert "There is nothing to draw yet: grade a day with" in text
    assert "No day has been graded yet." in text


def test_progress_from_before_there_was_a_history(monkeypatch):
    monkeypatch.setattr(progress, "is_stale", lambda *_: False)
    found = facts.of(days(), {"day07": Pass("cpu", 5, "abc", "2026-01-02T03:04:05+00:00")}, [])
    text = Reader(page.html(found)).text
    assert "passed 2026-01-02 03:04 UTC device cpu seed 5 source hash abc" in text
    assert "grade it again to see errors and costs here" in text
    assert [(when.year, day.number) for when, day in found.first_passes] == [(2026, 7)]


def test_numbers_that_are_none_draw_nothing():
    odd = {"share_of_budget": float("nan"), "mine": {"global bytes": "many", "barriers": None}, "reference": 3}
    found = facts.of(
        days(), {}, [graded(DAY, datetime.now(UTC), check("x", **odd), check("y", **{"share_of_budget": True}))]
    )
    assert (found.days[6].shares, found.days[6].costs) == ([], [])
    assert [plot.name for plot in plots.draw(found)] == ["over-time"]


def test_without_matplotlib_it_says_so(learner, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = Reader(page.html(learner)).text
    assert "NOT RUN matplotlib is not installed (pip install -e '.[report]')" in text
    assert "global bytes 57,600" in text


def test_what_plots_show_is_in_words_too(learner):
    made = {p.name: p for p in plots.draw(learner)}
    assert (
        made["over-time"].text
        == "5 of 60 days have passed at least once, the first on 1 Sep 2026, the latest on 8 Sep 2026."
    )
    assert (
        made["shares"]
        .text.replace("\xa0", " ")
        .startswith("12 cases are within the budget, the nearest to it with 38 % on")
    )
    assert made["shares"].text.endswith("1 is over it.")
    assert made["costs"].text == "8 counts beside the reference's; the highest is 1.20 times as much, on day 1."


# ---- everybody can read it ----------------------------------------------------------------------------------------------


def test_the_page_stands_alone_and_can_be_read_aloud(learner):
    text = page.html(learner)
    assert EVIL not in text
    reader = Reader(text)
    names = [tag for tag, _ in reader.tags]
    assert ("html", {"lang": "en"}) in reader.tags
    assert names.count("h1") == names.count("title") - 3 == names.count("main") == 1
    assert not {"script", "link", "img", "iframe"} & set(names)
    links = [a[k] for _, a in reader.tags for k in ("href", "src", "xlink:href") if k in a]
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"] * 3
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    pictures = [a for tag, a in reader.tags if tag == "svg"]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture["role"] == "img"
        assert all(name in ids for name in picture["aria-labelledby"].split())
    for tag, a in reader.tags:
        assert tag != "th" or "scope" in a or a.get("aria-hidden") == "true"
        assert "aria-labelledby" not in a or set(a["aria-labelledby"].split()) <= set(ids)
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels)), "a heading level is left out"


def test_colours_have_contrast_in_light_and_dark():
    style = (pages.TEMPLATES / "page.html.jinja").read_text()
    blocks = re.findall(r":root \{(.*?)\n\s*\}", style, re.DOTALL)
    assert len(blocks) == 2

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for block in blocks:  # WCAG 2.2: 4.5 for text, 3 for what a plot is made of
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for ground in ("ground", "card", "none-ground"):
            assert contrast(colours["ink"], colours[ground]) >= 7
            assert contrast(colours["muted"], colours[ground]) >= 4.5
            assert all(contrast(colours[f"series{i}"], colours[ground]) >= 3 for i in range(1, 6))
        for kind in ("good", "bad", "warn"):
            assert contrast(colours[kind], colours[f"{kind}-ground"]) >= 4.5
            assert contrast(colours[kind], colours["card"]) >= 4.5


# ---- in a browser -------------------------------------------------------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MEASURE = """<!doctype html><title>measure</title><body><pre id="out"></pre><script>
const page = new TextDecoder().decode(Uint8Array.from(atob("%s"), c => c.charCodeAt(0)));
let left = 0;
for (const width of [400, 1200]) {
  left++;
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.srcdoc = page;
  frame.onload = () => {
    const root = frame.contentDocument.documentElement;
    const svg = [...frame.contentDocument.querySelectorAll("svg")].map(s => s.getBoundingClientRect());
    const marks = frame.contentDocument.querySelectorAll("svg use, svg path").length;
    const small = [...frame.contentDocument.querySelectorAll("svg text")]
      .filter(t => t.textContent.trim() && t.getBoundingClientRect().height < 9).length;
    document.getElementById("out").textContent += JSON.stringify(
      {width, client: root.clientWidth, scroll: root.scrollWidth, marks, small, plots: svg.map(r => [r.width, r.height])}
    ) + "\\n";
    if (--left === 0) document.title = "measured";
  };
  document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Runs a headless browser on a page; gives what it printed and what it complained of."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"NOT RUN: no browser here ({', '.join(BROWSERS)})")

    def run(file: Path, *arguments: str) -> tuple[str, list[str]]:
        profile = tmp_path_factory.mktemp("profile")
        done = subprocess.run(
            [found, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--enable-logging=stderr",
             "--virtual-time-budget=5000", *arguments, file.as_uri()],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return run


def test_a_browser_shows_it_without_complaint(learner, browse, tmp_path):
    file, picture = tmp_path / "Bericht für später.html", tmp_path / "page.png"
    page.write(learner, file)
    shown, complaints = browse(file, "--dump-dom", f"--screenshot={picture}", "--window-size=1200,1600")
    assert complaints == []
    text = Reader(shown).text
    assert "warp60: 3 of 60 days" in text
    assert "global bytes 57,600 48,000 1.20 ×" in text
    assert shown.count("<svg") == 3
    assert picture.read_bytes()[:4] == b"\x89PNG"
    from matplotlib import image

    pixels = image.imread(picture)
    assert pixels.shape[1] == 1200
    assert len({tuple(p) for p in (pixels[::7, ::7, :3].reshape(-1, 3) * 255).astype(int)}) > 20, "nearly empty"


def test_complaints_would_be_seen(browse, tmp_path):
    (tmp_path / "bad.html").write_text("<!doctype html><script>console.error('so it is')</script>")
    assert "so it is" in browse(tmp_path / "bad.html", "--dump-dom")[1][0]


def test_nothing_runs_out_of_a_narrow_or_a_wide_window(learner, browse, tmp_path):
    file = tmp_path / "measure.html"
    file.write_text(MEASURE % base64.b64encode(page.html(learner).encode()).decode())
    shown, _ = browse(file, "--dump-dom", "--window-size=1300,1000")
    measured = [
        json.loads(line) for line in re.findall(r"\{&?.*\}", shown.replace("&quot;", '"')) if '"scroll"' in line
    ]
    assert sorted(m["width"] for m in measured) == [400, 1200]
    for m in measured:
        assert m["scroll"] <= m["client"], m
        assert len(m["plots"]) == 3
        assert all(width > 250 and height > 150 for width, height in m["plots"]), m
        assert m["marks"] > 30
        assert m["small"] == 0, "letters too small to read"


# ---- where it is written ------------------------------------------------------------------------------------------------


def test_it_replaces_an_old_report_and_nothing_else(learner, tmp_path):
    page.write(learner, tmp_path / "new" / "r.html")
    page.write(learner, tmp_path / "new" / "r.html")
    (tmp_path / "thesis.html").write_text("<p>precious")
    with pytest.raises(ReportError, match="something else already"):
        page.write(learner, tmp_path / "thesis.html")
    assert (tmp_path / "thesis.html").read_text() == "<p>precious"
    with pytest.raises(ReportError, match=r"Is a directory|something else"):
        page.write(learner, tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["r.html"]


def test_the_command(tmp_path):
    app = typer.Typer()
    app.command()(command)
    runner = CliRunner()
    env = {"WARP60_PROGRESS": str(tmp_path / "mein Kurs" / "progress.json")}
    done = runner.invoke(app, [], env=env)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == (tmp_path / "mein Kurs" / "report.html").as_uri()
    (tmp_path / "mein Kurs" / "progress.json").write_text("{broken")
    done = runner.invoke(app, [], env=env)
    assert done.exit_code == 2
    assert "cannot be read" in done.output


# ---- the history --------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty place for progress."""
    monkeypatch.setenv("WARP60_PROGRESS", str(tmp_path / "mein Kurs" / "progress.json"))
    return tmp_path / "mein Kurs"


def a_report(verdict=Verdict.PASSED):
    checks = [
        Check("1 × 1024", verdict, "err 2 % of budget", (("row", "x"),), {"share_of_budget": 0.02}),
        Check("speed", Verdict.NOT_RUN, "no GPU here"),
    ]
    return Report(7, "rmsnorm", "days/day07_rmsnorm", "cpu (emulated CUDA)", 5, checks, 1.23456)


def test_gradings_are_noted(kept):
    assert progress.history() == []
    progress.note(DAY, DAY.lesson, a_report(Verdict.WRONG))
    assert progress.read() == {}
    progress.note(DAY, DAY.lesson, a_report())
    assert progress.read()["day07"].seed == 5
    first, second = progress.history()
    assert (first.verdict, second.verdict) == ("WRONG", "PASSED")
    assert (second.day, second.device, second.seed, second.seconds) == ("day07", "cpu (emulated CUDA)", 5, 1.235)
    assert second.source_hash == progress.source_hash(DAY, DAY.lesson)
    assert second.checks[0] == {
        "name": "1 × 1024", "verdict": "PASSED", "detail": "err 2 % of budget", "figures": {"share_of_budget": 0.02},
    }  # fmt: skip


def test_broken_lines_are_left_out(kept):
    progress.remember(DAY, DAY.lesson, a_report())
    good = progress.history_path().read_bytes()
    entry = json.loads(good)
    broken = [
        b"not json", b"[]", b"{}", b"\xff\xfe", b"", json.dumps({**entry, "verdict": "SUPERB"}).encode(),
        json.dumps({**entry, "checks": [1]}).encode(), json.dumps({**entry, "when": "tomorrow"}).encode(),
        json.dumps({**entry, "seed": "5"}).encode(), b"[" * 100_000,
    ]  # fmt: skip
    newer = json.dumps({**entry, "a later version's": 1}).encode()
    progress.history_path().write_bytes(good + b"\n".join([*broken, newer, b'{"cut in the mid']))
    assert len(progress.history()) == 2
    progress.remember(DAY, DAY.lesson, a_report())
    assert len(progress.history()) == 3, "the line after the cut one is whole"


def test_the_history_stays_small_and_keeps_first_passes(kept, monkeypatch):
    progress.remember(DAY, DAY.lesson, a_report())
    first = progress.history()[0]
    monkeypatch.setattr(progress, "MOST_HISTORY_BYTES", 8000)
    for _ in range(60):
        progress.remember(DAY, DAY.lesson, a_report(Verdict.WRONG))
    assert progress.history_path().stat().st_size < 9000
    found = progress.history()
    assert found[0] == first
    assert [g.verdict for g in found[1:]] == ["WRONG"] * (len(found) - 1)


def test_many_at_a_time_lose_nothing(kept):
    threads = [threading.Thread(target=progress.remember, args=(DAY, DAY.lesson, a_report())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(progress.history()) == 16


def test_a_history_that_cannot_be_read_is_empty(kept):
    kept.mkdir()
    progress.history_path().mkdir()
    assert progress.history() == []


def test_grading_notes_it(kept, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(DAY.lesson, elsewhere)
    for arguments in (["day07", "--seed", "5"], ["day07", "--from", str(elsewhere)]):
        done = subprocess.run(
            [sys.executable, "-m", "grader", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False,
            env={**os.environ, "WARP60_DEVICE": "cpu"}, timeout=120,
        )  # fmt: skip
        assert done.returncode == 3, done.stderr
    (only,) = progress.history()
    assert (only.day, only.verdict, only.seed) == ("day07", "NOT_SOLVED", 5)
    assert [p.name for p in kept.iterdir()] == ["history.jsonl"]
