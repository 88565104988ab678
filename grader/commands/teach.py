"""What instructors use, and the report that everybody may want."""

from __future__ import annotations

from grader.commands.app import app
from grader.commands.cohort import cohort
from grader.commands.publish import publish
from grader.commands.report import report

app.command("publish")(publish)
app.command("cohort")(cohort)
app.command("report")(report)
