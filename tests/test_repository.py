"""The rules of the house that a machine can check."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tables
from grader import mutants, stubs
from grader.curriculum import REPOSITORY, days

WRITTEN = [day for day in days() if day.written]
PAGES = sorted(
    f for f in REPOSITORY.rglob("*.md") if not any(p.startswith(".") for p in f.relative_to(REPOSITORY).parts)
)
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
RECORDS = sorted((REPOSITORY / "results").rglob("*.json"))
OF_THE_MACHINE = re.compile(r"(?<![\w.~}])/(?:[w]ork|[r]oot|[h]ome/\w+|[t]mp/w60|[U]sers/\w+)\b/?")
REGISTRIES = re.compile(r"[p]ypi\.org|[p]ythonhosted|[r]egistry\.npmjs|[d]eb\.debian|[p]roxy\.golang")
FIGURE = re.compile(r"\d[\d,. ]*(?:[GMT]B/s|tokens/s|TFLOP/s|GMAC/s|µs|ns)\b")
README = (REPOSITORY / "README.md").read_text()


def name(value: object) -> str:
    return value.relative_to(REPOSITORY).as_posix() if isinstance(value, Path) else str(value)


def written(page: Path) -> str:
    """A page's text; of a notebook what somebody wrote, not what cells computed."""
    if page.suffix != ".ipynb":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def prose(page: Path) -> str:
    """A page without its code, comments and generated tables."""
    text = tables.BLOCK.sub("", written(page))
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4,}\S.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"<!--.*?-->|`[^`\n]*`", "", text, flags=re.DOTALL)


def tracked_files() -> list[Path]:
    if not (REPOSITORY / ".git").exists() or shutil.which("git") is None:
        pytest.skip("NOT RUN: this is not a git checkout")
    command = ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    files = [REPOSITORY / part for part in listed.split("\0") if part]
    assert len(files) > 50
    return [f for f in files if f.is_file()]


@pytest.mark.parametrize(
    ("pattern", "what"), [(OF_THE_MACHINE, "path of one machine"), (REGISTRIES, "registry's host")]
)
def test_the_repository_speaks_of_the_project_alone(pattern: re.Pattern[str], what: str) -> None:
    found = []
    for file in tracked_files():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name(file)}:{number}: {what}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("line", ["see /" + "work/main/x.py", "'/" + "root/.cache'", "cd /" + "home/ann/warp60"])
def test_paths_of_a_machine_are_recognised(line: str) -> None:
    assert OF_THE_MACHINE.search(line)
    assert not OF_THE_MACHINE.search("tests/work/x, ~/home, a/root and $HOME/work")


# ---- the map of the days -------------------------------------------------------------------------------------------


def test_sixty_days_and_every_need_comes_before() -> None:
    assert [day.number for day in days()] == list(range(1, 61))
    assert len({day.slug for day in days()}) == 60
    for day in days():
        assert all(needed < day.number for needed in day.needs), day.name


@pytest.mark.parametrize("folder", ["days", "solutions"])
def test_a_folder_for_each_written_day_and_no_other(folder: str) -> None:
    assert {f.name for f in (REPOSITORY / folder).iterdir() if f.is_dir()} == {day.folder_name for day in WRITTEN}


@pytest.mark.parametrize("day", WRITTEN, ids=lambda day: day.name)
def test_a_written_day_is_whole(day) -> None:
    for folder in (day.lesson, day.solution):
        for file in (*day.files, "README.md"):
            assert (folder / file).is_file(), f"{name(folder)} has no {file}, which curriculum.yaml says it has"
    code = "".join((day.solution / file).read_text() for file in day.files)
    for function in day.functions:
        assert re.search(rf"\b{function}\(", code), f"{day.name}: no {function} in {', '.join(day.files)}"
    assert (REPOSITORY / "grader" / "checks" / f"{day.name}.py").is_file()
    kinds = {mutant.kind for mutant in mutants.mutants(day)}
    wanted = set(mutants.KINDS) if "kernel.cu" in day.files else {"boundary", "semantics"}
    assert wanted <= kinds, f"{day.name} has no mutant of kind {', '.join(sorted(wanted - kinds))}"


def test_stubs_come_from_their_solutions() -> None:
    assert [name(f) for f in stubs.stale()] == [], "python -m grader stubs writes them"


# ---- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", written(page), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue  # another site: its links are its own
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{name(page)}: {target} leads nowhere"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", written(linked), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            if linked.suffix == ".ipynb":  # Jupyter's rule is another
                anchors = {title.replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{name(page)}: {name(linked)} has no heading {anchor}"


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=name)
def test_no_measured_figure_is_typed_and_nobody_shouts(page: Path) -> None:
    text = prose(page)
    assert not (found := FIGURE.findall(text)), (
        f"{found}: a measured figure belongs into results/ and benchmarks/tables.py"
    )
    assert "!" not in text.replace("![", "["), "an exclamation mark"


def test_measured_tables_are_up_to_date() -> None:
    machines = tables.read(REPOSITORY / "results")
    stale = [name(p) for p in PAGES if tables.filled(p.read_text(), name(p), machines) != p.read_text()]
    assert not stale, "python benchmarks/tables.py writes them"


def refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def check_record(text: str) -> None:
    """A record says how, when and on what it was made; every median has its spread and number of repeats."""
    record = json.loads(text, parse_constant=refuse)
    assert {"command", "date", "machine"} <= set(record)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert {"cpu", "python"} <= set(record["machine"])

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "median_s" in value:
                assert {"quartile1_s", "quartile3_s", "repeats"} <= set(value)
                assert 0 < value["quartile1_s"] <= value["median_s"] <= value["quartile3_s"]
                assert value["repeats"] >= 6  # fewer do not hold a median with any certainty: day 23
            value = list(value.values())
        for inner in value if isinstance(value, list) else ():
            walk(inner)

    walk(record)


def test_records_say_how_they_were_made() -> None:
    if not RECORDS:
        pytest.skip("NOT RUN: results/ holds no record yet")
    for file in RECORDS:
        try:
            check_record(file.read_text())
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{name(file)}: {error}") from error


GOOD = {
    "command": "python x.py", "date": "2026-01-31", "machine": {"cpu": "c", "python": "3.12"},
    "rows": [{"median_s": 2.0, "quartile1_s": 1.0, "quartile3_s": 3.0, "repeats": 30}],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"machine": {}}, {"date": "today"}, {"rows": [{"median_s": 2.0}]}, {"share": float("nan")}],
    ids=lambda change: next(iter(change)),
)
def test_poor_records_are_found(change: dict[str, object]) -> None:
    check_record(json.dumps(GOOD))
    with pytest.raises((AssertionError, ValueError)):
        check_record(json.dumps(GOOD | change))


def test_licence() -> None:
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text()[:200]


# ---- the README's commands are what CI runs -----------------------------------------------------------------------------


def readme_commands() -> list[str]:
    block = re.search(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1].splitlines()


def test_readme_has_the_two_commands() -> None:
    install, test = readme_commands()
    assert "pip install -e ." in install
    assert "python -m grader day17 --solution" in install
    assert "pip install -e '.[test]'" in test
    assert test.endswith("/pytest")


def test_ci_runs_the_readme_s_commands_as_they_stand_there() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    program = re.search(r"awk '(.*)' README\.md", script)
    assert program is not None
    taken = subprocess.run(["awk", program[1], "README.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert taken.stdout.splitlines() == readme_commands()
    assert re.findall(r'bash -euo pipefail -c "\$\{commands\[(\d)\]\}"', script) == ["0", "1"]
    assert "/pytest" not in script, "CI's pytest is the README's"


def test_ci_script_is_valid_and_can_be_started() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("module", ["grader", "engine"])
def test_commands_of_the_readme_exist(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    used = {line.split()[0] for line in re.findall(rf"python -m {module} ([a-z]\w* ?[^`\n]*)", README)}
    used -= {day.name for day in days()}
    for command in used:
        assert re.search(rf"^\s*{command}\b", done.stdout, re.MULTILINE), f"python -m {module} has no {command}"
