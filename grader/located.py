"""YAML whose values know their lines, so that a message can name the place of a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class LocatedError(ValueError):
    """A YAML file is not what it should be; the message names the file, the line and the key."""


class Mapping(dict[str, Any]):
    """A mapping that knows the line of each key.

    Attributes:
        line: where it begins.
        lines: of its keys.
    """

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


def load(path: Path) -> Any:
    """The content of a YAML file, with `Mapping` for every mapping.

    Raises:
        LocatedError: it cannot be read, is no YAML, or has a key twice.
    """
    try:
        loader = _LOADER(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LocatedError(f"{path.name}: cannot be read: {error}") from error
    try:
        node = loader.get_single_node()
        return None if node is None else _value(loader, node, path.name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else "?"
        raise LocatedError(f"{path.name}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise LocatedError(f"{path.name}: not YAML: {error}") from error
    finally:
        loader.dispose()


def _value(loader: Any, node: yaml.Node, name: str) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, child, name) for child in node.value]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    out = Mapping(node.start_mark.line + 1)
    for key_node, value_node in node.value:
        key, line = loader.construct_object(key_node), key_node.start_mark.line + 1
        if key in out:
            raise LocatedError(f"{name}:{line}: key {key!r} stands here a second time")
        out[key] = _value(loader, value_node, name)
        out.lines[key] = line
    return out


def check(entry: Any, where: str, known: dict[str, type], required: tuple[str, ...]) -> None:
    """Refuse a mapping with keys that are missing, unknown or of the wrong type.

    Args:
        entry: from `load`.
        where: what the entry is, for the message, with the file's name before a colon: `curriculum.yaml: day 7`.
        known: the type of each key's value; a list is of plain values.

    Raises:
        LocatedError: names file, line and key.
    """
    file, _, what = where.partition(": ")
    if not isinstance(entry, Mapping):
        raise LocatedError(f"{where}: {entry!r}: expected a mapping with the keys {', '.join(required)}")
    for key, value in entry.items():
        place = f"{file}:{entry.lines[key]}: {what}"
        if key not in known:
            raise LocatedError(f"{place}: unknown key {key!r}; known: {', '.join(known)}")
        if not isinstance(value, known[key]) or isinstance(value, bool) is not (known[key] is bool):
            raise LocatedError(f"{place}: {key!r} is {value!r}: expected {known[key].__name__}")
    for key in required:
        if key not in entry:
            raise LocatedError(f"{file}:{entry.line}: {what}: key {key!r} is missing")
