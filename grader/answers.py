"""What a worker answered when it was not a result, as a check for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grader.verdict import Check, Verdict

VERDICTS = {
    "not-solved": Verdict.NOT_SOLVED,
    "compile-error": Verdict.COMPILE_ERROR,
    "timed-out": Verdict.TIMED_OUT,
    "unsafe": Verdict.UNSAFE,
    "no-compiler": Verdict.NOT_RUN,
    "wrong-type": Verdict.WRONG,
}
Answer = dict[str, Any]


def failure(name: str, answer: Answer) -> Check:
    """Anything but a result, as a check of that name."""
    outcome = answer["outcome"]
    verdict = VERDICTS.get(outcome, Verdict.CRASHED)
    message = str(answer.get("message", "")).strip()
    rows: list[tuple[str, str]] = []
    if outcome == "compile-error":
        for d in answer["diagnostics"]:
            rows.append((f"{d['file']}:{d['line']}", f"{d['message']}"))
            rows.append(("", d["text"].strip()))
        message = answer["diagnostics"][0]["message"] if answer["diagnostics"] else message
    elif outcome == "unsafe":
        rows = finding_rows(answer["findings"][0])
    elif outcome == "not-solved":
        rows = [("where", answer.get("where", ""))]
    elif outcome == "wrong-type":
        message = f"the function returned {answer['type']}: expected a {answer['expected']} array"
    elif outcome == "raised":
        message = f"{answer['type']}: {message}"
        rows = [("where", answer["where"])] if answer.get("where") else []
    head, *more = message.split("\n") or [""]
    return Check(name, verdict, head, tuple(rows + [("", line.strip()) for line in more[:6]]))


def finding_rows(finding: Answer) -> list[tuple[str, str]]:
    """A finding of the checker, for the screen."""
    rows = [("unsafe", finding["message"])]
    for place in finding["places"]:
        who = f"thread {_tuple(place['thread'])} of block {_tuple(place['block'])}"
        name = Path(place["file"]).name
        label = f"{name}:{place['line']}" if place["line"] else name  # a thread that has ended is at no line
        rows.append((label, f"{place['text']}   {place['action']} by {who}".strip()))
    return [*rows, ("do", finding["advice"])]


def _tuple(index: Sequence[int] | None) -> str:
    if index is None:
        return "?"
    return str(index[0]) if not any(index[1:]) else f"({', '.join(map(str, index))})"
