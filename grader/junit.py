"""Gradings as JUnit XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from grader.verdict import Check, Report, Verdict

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(reports: Sequence[Report]) -> str:
    """One test suite for each grading, one test case for each check; NOT RUN counts as skipped, with the reason."""
    root = ElementTree.Element("testsuites", name="warp60")
    for report in reports:
        failed = sum(c.verdict not in (Verdict.PASSED, Verdict.NOT_RUN) for c in report.checks)
        skipped = sum(c.verdict is Verdict.NOT_RUN for c in report.checks)
        suite = ElementTree.SubElement(
            root, "testsuite", name=f"day{report.day:02}_{report.slug}", tests=str(len(report.checks)),
            failures=str(failed), errors="0", skipped=str(skipped), time=f"{report.seconds:.3f}",
        )  # fmt: skip
        properties = ElementTree.SubElement(suite, "properties")
        for name in ("device", "seed", "source", "verdict"):
            ElementTree.SubElement(properties, "property", name=name, value=_clean(getattr(report, name)))
        for check in report.checks:
            _case(suite, report, check)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, report: Report, check: Check) -> None:
    name = f"day{report.day:02}_{report.slug}"
    case = ElementTree.SubElement(suite, "testcase", classname=name, name=_clean(check.name))
    if check.verdict is Verdict.PASSED:
        return
    kind = "skipped" if check.verdict is Verdict.NOT_RUN else "failure"
    found = ElementTree.SubElement(case, kind, message=_clean(f"{check.verdict.words}: {check.detail}"))
    found.text = _clean("\n".join(f"{label}: {text}" for label, text in check.rows))


def _clean(value: object) -> str:
    """Text without the characters that XML cannot hold: a lesson's message may have any."""
    return _NOT_XML.sub("\ufffd", str(value))
