"""`watch` on a pseudo-terminal: grades, grades again on save, obeys its keys, gives the terminal back."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import pytest

DAY = "day07_rmsnorm"


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, clone, *arguments):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        environment = {
            **os.environ,
            "PYTHONPATH": str(clone),
            "WARP60_DEVICE": "cpu",
            "COLUMNS": "100",
            "TERM": "xterm",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "grader", "watch", *arguments],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, cwd=clone, env=environment, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, words, seconds=30.0):
        """Read until the words appear after what was read before; returns all that came."""
        came, deadline = "", time.monotonic() + seconds
        while words not in came:
            left = deadline - time.monotonic()
            assert left > 0, f"{words!r} did not appear in {came!r}"
            if select.select([self.master], [], [], min(left, 0.2))[0]:
                came += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(self.master, 65536).decode(errors="replace"))
        self.text += came
        return came

    def press(self, keys):
        os.write(self.master, keys.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(clone):
    opened = []

    def start(*arguments):
        opened.append(Terminal(clone, *arguments))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_grades_on_save_and_obeys_keys(clone, terminal):
    screen = terminal("day07")
    assert "NOT SOLVED" in screen.wait_for("q quit")
    screen.press("h")
    assert "Hint 1" in screen.wait_for("q quit")
    screen.press("h")
    assert "Hint 2" in screen.wait_for("q quit")
    screen.press("l")
    assert "60 capstone" in screen.wait_for("q quit")
    for name in ("kernel.cu", "lesson.py"):
        (clone / "days" / DAY / name).write_text((clone / "solutions" / DAY / name).read_text())
    assert "1 of 60 days" in screen.wait_for("1 of 60 days")
    screen.press("q")
    assert screen.process.wait(timeout=20) == 0
    assert termios.tcgetattr(screen.slave)[3] == screen.before[3], "the terminal's modes are as they were"
    assert (clone / ".warp60" / "progress.json").is_file()


def test_ctrl_c_ends_it_and_gives_the_terminal_back(terminal):
    screen = terminal("day07")
    screen.wait_for("q quit")
    os.killpg(screen.process.pid, 2)
    assert screen.process.wait(timeout=20) == 130
    assert termios.tcgetattr(screen.slave)[3] == screen.before[3]
    assert "Traceback" not in screen.wait_for("interrupted")


def test_a_file_that_vanishes_is_named_and_watching_goes_on(clone, terminal):
    screen = terminal("day07")
    screen.wait_for("q quit")
    lesson = clone / "days" / DAY / "lesson.py"
    text = lesson.read_text()
    lesson.unlink()
    assert "no such file" in screen.wait_for("q quit")
    lesson.write_text(text)
    assert "NOT SOLVED" in screen.wait_for("q quit")
