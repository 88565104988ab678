"""A student edition: the course up to a day. `edition.json` in its root says which; a full checkout has no such file."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

NAME = "edition.json"
EVERY_DAY = 10**6


class EditionError(ValueError):
    """`edition.json` is not what it should be; the message names the file and the key."""


@dataclass(frozen=True)
class Edition:
    """What was published into a folder.

    Attributes:
        up_to: the last day that is published.
        solutions_up_to: the last day whose solution is there too; 0 for none.
        files: what each file was when it was published, by path from the root (see `grader.publish.Piece.mark`).
        pending: the same of a publishing that had begun and, where this is not empty, did not end.
    """

    up_to: int
    solutions_up_to: int
    files: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As the file holds it."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def read(root: Path) -> Edition | None:
    """The edition in that folder, or None for a full checkout.

    Raises:
        EditionError: there is a file, and it cannot be used.
    """
    path = root / NAME
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EditionError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise EditionError(f"{path}: expected an object")
    for key, kind in (("up_to", int), ("solutions_up_to", int), ("files", dict), ("pending", dict)):
        if not isinstance(found.get(key), kind):
            raise EditionError(f"{path}: {key!r} is {found.get(key)!r}: expected {kind.__name__}")
    return Edition(found["up_to"], found["solutions_up_to"], found["files"], found["pending"])


@functools.cache
def last_day(root: Path) -> int:
    """The last day that is published in a checkout.

    Raises:
        EditionError: see `read`.
    """
    found = read(root)
    return EVERY_DAY if found is None else found.up_to
