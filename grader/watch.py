"""Grades a day again whenever one of its files is saved; single keys for everything else."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import sys
import time
from collections.abc import Iterator
from typing import Any

from grader import hints, present, progress
from grader.curriculum import Day, days
from grader.grade import GraderError, grade
from grader.verdict import Report

POLL_S = 0.1
KEYS = "h hint  n next day  l list  r again  q quit"


def watch(day: Day, *, device: str, seed: int | None, console: Any) -> None:
    """Watch until `q`, Ctrl-C, or the end of the input.

    Args:
        seed: of every grading; None for a fresh one each time.
    """
    _Watch(day, device, seed, console).run()


class _Watch:
    """One session in front of the screen."""

    def __init__(self, day: Day, device: str, seed: int | None, console: Any) -> None:
        self.day, self.device, self.seed, self.console = day, device, seed, console
        self.tier = 0  # hints shown so far
        self.report: Report | None = None
        self.quit = False

    def run(self) -> None:
        """Grade, wait for a save or a key, again and again."""
        with _single_keys() as keys:
            while not self.quit:
                stamp = self._stamp()
                self._grade()
                self._prompt(keys)
                while not self.quit and self._stamp() == stamp:
                    key = _read_key(keys)
                    if key and self._press(key):
                        break

    def _stamp(self) -> tuple[Any, ...]:
        """Changes when a file of the lesson is saved."""
        out = []
        for name in self.day.files:
            try:
                status = (self.day.lesson / name).stat()
                out.append((name, status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:  # editors replace a file: for a moment it is not there
                out.append((name, 0, 0, 0))
        return tuple(out)

    def _grade(self) -> None:
        self.console.clear()
        self.console.print(f"grading {self.day.folder_name} …", style="dim", highlight=False)
        seed = secrets.randbelow(100_000) if self.seed is None else self.seed
        try:
            self.report = grade(self.day, self.day.lesson, device=self.device, seed=seed)
        except GraderError as error:
            self.console.clear()
            self.console.print(str(error), markup=False)
            return
        try:
            progress.note(self.day, self.day.lesson, self.report)
        except (OSError, ValueError) as error:
            self.console.print(f"your progress could not be noted: {error}", markup=False)
        self._show()

    def _show(self) -> None:
        self.console.clear()
        if self.report is not None:
            present.report(self.console, self.day, self.report, self.day.name, is_learners=True)

    def _prompt(self, keys: int | None) -> None:
        said = f"watching {', '.join(self.day.files)}   {KEYS}" if keys is not None else "watching; Ctrl-C ends"
        self.console.print(f"\n  {said}", style="dim", markup=False)

    def _press(self, key: str) -> bool:
        """Do what a key stands for; True to grade now."""
        match key:
            case "q" | "\x04" | "":
                self.quit = True
            case "r":
                return True
            case "h":
                found = hints.hints(self.day)
                self.tier = self.tier % len(found) + 1
                self._show()
                self.console.print()
                hints.show(self.console, found[self.tier - 1])
                self._prompt(0)
            case "l":
                self.console.clear()
                present.day_map(self.console)
                self._prompt(0)
            case "n":
                return self._next()
        return False

    def _next(self) -> bool:
        passed = progress.fresh()
        following = [d for d in days() if d.written and d.number > self.day.number and d.name not in passed]
        if not following:
            self.console.print("  there is no later day to do: the others have passed, or are not written yet")
            return False
        self.day, self.tier, self.report = following[0], 0, None
        return True


@contextlib.contextmanager
def _single_keys() -> Iterator[int | None]:
    """The descriptor that keys come from, one at a time and unseen; None where the input is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read_key(descriptor: int | None) -> str | None:
    """A key, if one comes soon; "" at the end of the input."""
    if descriptor is None:
        time.sleep(POLL_S)
        return None
    if not select.select([descriptor], [], [], POLL_S)[0]:
        return None
    raw = os.read(descriptor, 64)
    return raw[:1].decode(errors="replace").lower() if raw else ""
