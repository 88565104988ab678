"""What can run where: a test that cannot is NOT RUN with the reason, and the summary counts those apart from passes.

A skip whose reason does not start with `NOT RUN: ` fails: nobody can tell it from a test that was switched off.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from engine import device

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_RUN = "NOT RUN: "
# Threads of NumPy's own are a third of what it takes to start a lesson's process, and no test multiplies large matrices in one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The same examples in every run: what passes here passes elsewhere. `--hypothesis-profile=random` looks for new ones.
hypothesis.settings.register_profile("random", hypothesis.settings())
hypothesis.settings.register_profile("the same", derandomize=True)
hypothesis.settings.load_profile("the same")


def why_no_gpu() -> str | None:
    """None where CuPy can run a kernel, else what is missing."""
    return device.why_no_cuda()


@functools.cache
def why_no_network() -> str | None:
    """None where pip reaches its package index, whichever is configured; else what pip says.

    A small wheel without dependencies is fetched for it, past pip's own cache.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--retries", "1"]
        try:
            done = subprocess.run(
                [*command, "--timeout", "15", "--only-binary=:all:", "--dest", folder, "iniconfig"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "pip gets no answer from the package index within 60 s"
    if done.returncode == 0:
        return None
    return f"pip cannot reach the package index ({(done.stderr.strip().splitlines() or ['no message'])[-1]})"


def why_no_goldens() -> str | None:
    """None where torch and transformers are installed."""
    absent = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed (pip install -e '.[goldens]')" if absent else None


def why_no_notebooks() -> str | None:
    """None where notebooks can be executed."""
    wanted = ("IPython", "ipykernel", "matplotlib", "nbclient", "nbformat", "PIL")
    absent = [name for name in wanted if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed (pip install -e '.[notebooks]')" if absent else None


NEEDS: dict[str, Callable[[], str | None]] = {
    "gpu": why_no_gpu,
    "network": why_no_network,
    "goldens": why_no_goldens,
    "notebooks": why_no_notebooks,
}


@pytest.hookimpl(trylast=True)  # what -m and -k leave out needs no probing
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, why_not in NEEDS.items():
            if item.get_closest_marker(marker) and (reason := why_not()) is not None:
                item.add_marker(pytest.mark.skip(reason=NOT_RUN + reason))


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a report was skipped, in the words of the skip."""
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return words.removeprefix("Skipped: ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not skip_reason(report).startswith(NOT_RUN):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {skip_reason(report)!r}\nthe reason must start with {NOT_RUN!r}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = collections.Counter(skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section("NOT RUN: these are not passes")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:>4}  {reason.removeprefix(NOT_RUN)}")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_what_tests_start() -> None:
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def on(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device of a test; the choice is a process's own, so it is put back."""
    with _device_chosen(request.param):
        yield request.param


@pytest.fixture
def on_cpu() -> Iterator[pytest.MonkeyPatch]:
    """A test on the CPU that may choose again, with checks."""
    with _device_chosen("cpu") as patch:
        yield patch


@pytest.fixture
def gpu_with() -> Iterator[Callable[[float], None]]:
    """A test on the GPU that says how many bytes of its memory it needs; where they are not free it is NOT RUN."""
    import cupy

    def gpu_with(needed: float) -> None:
        free, _ = cupy.cuda.runtime.memGetInfo()
        if free < needed:
            pytest.skip(f"{NOT_RUN}{free / 2**30:.0f} GiB of GPU memory are free, {needed / 2**30:.0f} GiB are needed")

    with _device_chosen("cuda"):
        yield gpu_with
    cupy.get_default_memory_pool().free_all_blocks()


@pytest.fixture
def numpy_as_cupy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A suite of benchmarks without a GPU: see `fakes.play_cupy`."""
    from tests import fakes  # here: what it imports, few tests need

    return fakes.play_cupy(monkeypatch)


@contextlib.contextmanager
def _device_chosen(name: str) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "_choice", None)
        patch.setattr(device, "_check", False)
        device.select(name)
        yield patch
