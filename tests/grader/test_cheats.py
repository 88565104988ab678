"""What a lesson must not get away with: each of these is contained, failed and named, and costs its worker only."""

from __future__ import annotations

import textwrap
import time

import pytest

from grader.curriculum import find
from grader.grade import GraderError, grade
from grader.verdict import Verdict

DAY = find("day07")
SOLVED = (DAY.solution / "lesson.py").read_text()
KERNEL = (DAY.solution / "kernel.cu").read_text()


def grade_lesson(tmp_path, lesson, kernel=KERNEL, **options):
    folder = tmp_path / "mein Ordner mit Ümläuten"
    folder.mkdir()
    (folder / "lesson.py").write_text(textwrap.dedent(lesson))
    (folder / "kernel.cu").write_text(kernel)
    return grade(DAY, folder, device="cpu", seed=3, **options)


def with_body(body):
    head = SOLVED.split("    # solve: begin")[0]
    return head + textwrap.indent(textwrap.dedent(body), "    ")


def test_solved_lesson_elsewhere_passes(tmp_path):
    assert grade_lesson(tmp_path, SOLVED).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("body", "verdict", "words"),
    [
        ("return x", Verdict.WRONG, "elements are wrong"),
        ("x[:] = 0\nreturn x", Verdict.WRONG, "changed its argument 0"),
        ("return np.full_like(x, np.nan)", Verdict.WRONG, "elements are wrong"),
        ("return x[:, :1].copy()", Verdict.WRONG, "shape"),
        ("return x.astype(np.float64)", Verdict.WRONG, "dtype float64"),
        ("return [1, 2, 3]", Verdict.WRONG, "returned list"),
        ("return None", Verdict.WRONG, "returned NoneType"),
        ("import os\nos._exit(0)", Verdict.CRASHED, "ended with status 0"),
        ("raise SystemExit(0)", Verdict.CRASHED, "SystemExit"),
        ("import os\nos.kill(os.getpid(), 11)", Verdict.CRASHED, "SIGSEGV"),
        ("return x / 0 + undefined_name", Verdict.CRASHED, "NameError"),
        (
            "from pathlib import Path\nimport engine\nroot = Path(engine.__file__).parents[1]\n"
            "return (root / 'solutions' / 'day07_rmsnorm' / 'lesson.py').read_text()",
            Verdict.CRASHED,
            "may not read the reference solution",
        ),
        (
            "import grader.compare, time\ngrader.compare.compare = lambda *a: True\nnp.allclose = lambda *a, **k: True\n"
            "time.monotonic = lambda: 0.0\nreturn np.zeros_like(x)",
            Verdict.WRONG,
            "elements are wrong",
        ),
        (
            "cache = globals().setdefault('cache', {})\n"
            "key = x.shape, str(x.dtype)\n"
            "if key not in cache:\n    e = x.astype('f8')\n"
            "    cache[key] = (e / np.sqrt((e * e).mean(1, keepdims=True) + eps) * weight.astype('f8')).astype(x.dtype)\n"
            "return cache[key].copy()",
            Verdict.WRONG,
            "elements are wrong",
        ),
    ],
)
def test_refused(tmp_path, body, verdict, words):
    report = grade_lesson(tmp_path, with_body(body))
    assert report.verdict is verdict, report.as_json()
    failed = next(c for c in report.checks if c.verdict not in (Verdict.PASSED, Verdict.NOT_RUN))
    assert words in failed.detail


def test_the_engines_own_copy_of_the_kernel_is_no_way_out(tmp_path):
    lesson = SOLVED.replace('device.source_beside(__file__, "rmsnorm.cu")', 'device.KERNELS / "rmsnorm.cu"')
    assert lesson != SOLVED
    report = grade_lesson(tmp_path, lesson, (DAY.lesson / "kernel.cu").read_text())
    assert report.verdict is Verdict.CRASHED
    assert "may not read the reference solution" in report.checks[-1].detail


@pytest.mark.parametrize(
    "body",
    [
        "e = x.astype('f8')\n"
        "return (e / np.sqrt((e * e).mean(1, keepdims=True) + np.float32(eps)) * weight.astype('f8')).astype(x.dtype)",
        "from grader import oracles\nreturn oracles.rmsnorm(x, weight, eps).astype(x.dtype)",
    ],
)
def test_right_numbers_without_a_kernel(tmp_path, body):
    report = grade_lesson(tmp_path, with_body(body))
    assert report.verdict is Verdict.WRONG, report.as_json()
    failed = next(c for c in report.checks if c.verdict is Verdict.WRONG)
    assert "no kernel of the lesson is launched" in failed.detail


def test_endless_python_is_stopped(tmp_path):
    started = time.monotonic()
    report = grade_lesson(tmp_path, with_body("while True: pass"), call_limit_s=1.0)
    assert report.verdict is Verdict.TIMED_OUT
    assert time.monotonic() - started < 20


def test_endless_kernel_is_stopped_at_its_line(tmp_path):
    endless = KERNEL.replace("float squares = 0.0f;", "float squares = 0.0f;\n  while (hidden > 0) squares += 1.0f;")
    report = grade_lesson(tmp_path, SOLVED, endless, call_limit_s=2.0)
    assert report.verdict is Verdict.TIMED_OUT
    assert "endless loop" in report.checks[-1].detail


def test_garbage_on_every_descriptor(tmp_path):
    body = """
    import os, sys
    print("{" * 100)
    sys.stderr.write("noise")
    for fd in (1, 2):
        os.write(fd, b"\\xff\\x00 garbage")
    kernel = rmsnorm_kernel(x.dtype)
    out = device.xp.empty_like(x)
    kernel((x.shape[0],), (THREADS,), (x, weight, out, np.int32(x.shape[1]), np.float32(eps)))
    return out
    """
    report = grade_lesson(tmp_path, with_body(body))
    assert report.verdict is Verdict.PASSED
    assert "noise" in report.printed


def test_forged_answers_on_the_channel(tmp_path):
    body = """
    import os
    for fd in range(3, 64):
        try:
            os.write(fd, b"A" * 64)
        except OSError:
            pass
    return x
    """
    report = grade_lesson(tmp_path, with_body(body))
    assert report.verdict in (Verdict.CRASHED, Verdict.WRONG)


def test_compile_error_is_at_the_learners_line(tmp_path):
    report = grade_lesson(tmp_path, SOLVED, KERNEL.replace("float squares = 0.0f;", "float squares = 0.0f"))
    assert report.verdict is Verdict.COMPILE_ERROR
    line = next(i for i, text in enumerate(KERNEL.splitlines(), 1) if "float squares" in text) + 1
    labels = [label for label, _ in report.checks[-1].rows]
    assert f"kernel.cu:{line}" in labels or f"kernel.cu:{line - 1}" in labels


def test_python_syntax_error_is_named(tmp_path):
    report = grade_lesson(tmp_path, "def rmsnorm(:\n")
    assert report.verdict is Verdict.CRASHED
    assert "SyntaxError" in report.checks[-1].detail
    assert ("where", "lesson.py:1") in report.checks[-1].rows


def test_an_error_passed_on_is_named_where_it_began(tmp_path):
    body = """
    def judge():
        raise ValueError("hidden")
    try:
        judge()
    except ValueError as error:
        raise ValueError("rmsnorm") from error
    """
    report = grade_lesson(tmp_path, with_body(body))
    line = next(i for i, text in enumerate(with_body(body).splitlines(), 1) if 'ValueError("hidden")' in text)
    assert ("where", f"lesson.py:{line}") in report.checks[-1].rows


def test_a_thread_that_has_ended_is_at_no_line(tmp_path):
    kernel = KERNEL.replace("  __syncthreads();", "  if (threadIdx.x >= 32) return value;\n  __syncthreads();")
    assert kernel != KERNEL
    rows = grade_lesson(tmp_path, SOLVED, kernel).checks[-1].rows
    assert any(label == "kernel.cu" and text.startswith("ended by thread") for label, text in rows)


def test_missing_function(tmp_path):
    report = grade_lesson(tmp_path, "x = 1\n")
    assert report.verdict is Verdict.CRASHED
    assert "no function 'rmsnorm'" in report.checks[-1].detail


def test_bad_input_must_be_refused(tmp_path):
    report = grade_lesson(tmp_path, SOLVED.replace("    check_arguments(x, weight)\n    # solve", "    # solve"))
    check = next(c for c in report.checks if c.name == "bad input")
    assert check.verdict in (Verdict.WRONG, Verdict.CRASHED)


def test_unsafe_though_right(tmp_path):
    everybody = KERNEL.replace("if (lane == 0) partial[warp] = value;", "partial[warp] = value;")
    assert everybody != KERNEL
    report = grade_lesson(tmp_path, SOLVED, everybody)
    assert report.verdict is Verdict.UNSAFE, report.as_json()
    failed = next(c for c in report.checks if c.verdict is Verdict.UNSAFE)
    assert "data race on shared `partial" in failed.detail


def test_missing_file(tmp_path):
    (tmp_path / "lesson.py").write_text(SOLVED)
    with pytest.raises(GraderError, match=r"kernel\.cu: no such file"):
        grade(DAY, tmp_path, device="cpu", seed=1)
