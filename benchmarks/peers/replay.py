"""What comes through a call, as the harness wants it: an iterator that is timed at each token."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Replay:
    """Runs a call to its end, keeps the moments at which tokens came, and plays them again.

    The harness asks for the time before the call, then once at each token. `clock` gives it the token's own moment then, and
    the time else.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self._moments: collections.deque[float] = collections.deque()

    def clock(self) -> float:
        """Seconds."""
        return self._moments.popleft() if self._moments else self.now()

    def play(self, call: Callable[[Callable[[Any], None]], Any]) -> Iterator[Any]:
        """Yield all that a call hands over.

        Args:
            call: gets the function to hand each thing to, as soon as it is there.
        """
        came: list[tuple[float, Any]] = []
        call(lambda thing: came.append((self.now(), thing)))
        try:
            for moment, thing in came:
                self._moments.append(moment)
                yield thing
        finally:
            self._moments.clear()


def single(steps: Iterator[Sequence[int]]) -> Iterator[int]:
    """The tokens of the only text."""
    for (token,) in steps:
        yield token
