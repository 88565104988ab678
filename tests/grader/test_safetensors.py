"""Day 1's solution beside the safetensors library: it refuses what the library refuses, and reads the rest alike.

One difference is meant. The format's description forbids a key that stands twice ("Duplicate keys are disallowed. Not all
parsers may respect this."); the library refuses that of the fields of a tensor and of `__metadata__`, and else takes the last.
Day 1 refuses it everywhere, and nothing else beyond the library.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from grader import file_oracles
from grader.checks import day01
from grader.curriculum import find
from grader.spec import File
from tests import lessons

DAY = find("day01")
LESSON = lessons.load(DAY)
BASES = {
    name: make(np.random.default_rng(0))[0].content
    for name, make in {
        "two": day01.good(day01.TWO, {"__metadata__": {"format": "pt"}}, after=b"   "),
        "empty": day01.good(day01.WITH_EMPTY, backwards=True),
        "odd": day01.good(day01.ODD),
        "deep": day01.good(day01.DEEP),
    }.items()
}


class Twice(Exception):  # noqa: N818
    """An object with a key that stands twice."""


def has_a_key_twice(content: bytes) -> bool:
    """Whether the header is JSON with such an object."""

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            raise Twice

    try:
        json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=look)
    except Twice:
        return True
    except (ValueError, RecursionError):
        pass
    return False


def library(path: Path) -> dict[str, Any] | None:
    """What the library reads, or None where it refuses."""
    content = path.read_bytes()
    try:
        found = dict(safetensors.deserialize(content))
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError:
        with pytest.raises(safetensors.SafetensorError):
            safetensors.safe_open(path, framework="numpy")
        return None
    tensors = {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in found.items()}
    return {"metadata": metadata, "tensors": tensors}


def ours(path: Path) -> dict[str, Any] | None:
    """What day 1 reads, or None where it refuses: by a plain ValueError that names the file."""
    content = path.read_bytes()
    problem = None
    try:
        header = LESSON.read_header(path)
    except ValueError as error:
        problem = error
    if problem is not None:
        assert type(problem) is ValueError
        assert str(problem).startswith(f"{path}: ")
        return None
    tensors = {name: (t.dtype, t.shape, content[t.start : t.end]) for name, t in header.tensors.items()}
    return {"metadata": header.metadata, "tensors": tensors}


def check_arrays(path: Path, read: dict[str, Any]) -> None:
    """The views, where the library says that the header is good."""
    possible = True
    with safetensors.safe_open(path, framework="numpy") as file:
        for name, (dtype, _, data) in read["tensors"].items():
            if file_oracles.BITS[dtype] < 8:
                possible = False
            elif not dtype.startswith("F8"):  # of these the library makes no NumPy arrays
                try:
                    assert file.get_tensor(name).tobytes() == data
                except ValueError:
                    possible = False
    if not possible:
        with pytest.raises(ValueError, match=r"dtype|shape"):
            LESSON.open_tensors(path)
        return
    views = LESSON.open_tensors(path)
    assert set(views) == set(read["tensors"])
    for name, (dtype, shape, data) in read["tensors"].items():
        view = views[name]
        assert view.dtype.name == file_oracles.TYPES[dtype]
        assert (view.shape, view.tobytes()) == (shape, data)
        assert not view.flags.writeable
        assert not view.flags.owndata


def verdict(path: Path, content: bytes) -> str:
    """Compare the two on a file; `refused`, `read` or `twice`."""
    path.write_bytes(content)
    theirs, mine = library(path), ours(path)
    if theirs is not None and has_a_key_twice(content):
        assert mine is None
        return "twice"
    assert mine == theirs, content
    if theirs is None:
        return "refused"
    check_arrays(path, theirs)
    return "read"


# ---- systematic damage ----------------------------------------------------------------------------------------------------

HOSTILE: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 2.5, 1e300, "", "F32", "f32", "BF17", [], [0], [1], [-1], [True], [None], ["1"], [1.0],
    [2, 2], [0, 0], [0, 4], [4, 0], [0, 2**63], [2**63, 0], [2**63, 4, 0], [0, 2**63, 4], [2**62, 4], [2**64, 0], [2**64 - 1],
    [1] * 64, [1] * 65, [0, 4, 8], [[0, 4]], {}, {"F32": None}, {"F32": []}, {"F32": None, "U8": None}, {"a": "b"}, {"a": 1},
    {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, ["F32", [1], [0, 4]], ["F32", [1]], ["F32", [0], [0, 0]],
    [{"F32": None}, [0], [0, 0]], 2**63, 2**64, -(2**63), -(2**70),
]  # fmt: skip
TEXTS = [
    b"", b"{", b"{}", b"[]", b"null", b"0", b'""', b"{}x", b"{}\x00", b"\xef\xbb\xbf{}", b"\xff", b"{/**/}", b"{,}", b"  {}",
    b"\n{}\t\r ", b"{}\x0b", b"\xc2\xa0{}", b"{}{}", b"'{}'", b"{}\xed\xa0\x80", b"\xfe\xff",
]  # fmt: skip
VALUES = [
    "NaN", "Infinity", "-Infinity", "1e308", "1e400", "-1e400", "1e-400", "0e999999999999", "-0", "-0.0", "01", "+1", "1.",
    ".5", "1e", "1E+5", "0x10", "9" * 19, "9" * 20, "9" * 21, "9" * 308, "9" * 400, "1" + "0" * 400 + "e-200",
    "0." + "1" * 5000, "tru", "nul", '"\\ud800"', '"\\ud800\\udc00"', '"\\udc00"', '"\\ud800\\ud800\\udc00"', '"\\u00g0"',
    '"\\x41"', '"\\/\\b\\f\\n\\r\\t"', '"\x01"', '"\x7f"', '"\n"', "[" * 125 + "]" * 125, "[" * 126 + "]" * 126,
    '{"k":' * 125 + "1" + "}" * 125, '{"k":' * 126 + "1" + "}" * 126, "[" * 100_000, "[" * 5000 + "]" * 5000,
    '{"a":1,"a":1}', "{}", "[1,]", "//", "1 2",
]  # fmt: skip


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def with_values(content: bytes) -> Iterator[bytes]:
    """Each value of the header replaced by each hostile one, taken away, or one more or less."""
    header, data = split(content)
    for place in places(header):
        for hostile in (..., "less", "more", *HOSTILE):
            changed = copy.deepcopy(header)
            holder = changed
            for key in place[:-1]:
                holder = holder[key]
            if hostile is ...:
                del holder[place[-1]]
            elif hostile in ("less", "more"):
                if type(holder[place[-1]]) is not int:
                    continue
                holder[place[-1]] += 1 if hostile == "more" else -1
            else:
                holder[place[-1]] = hostile
            yield day01.file(changed, data)


def with_bytes(content: bytes) -> Iterator[bytes]:
    """Each byte up to the data changed in four ways, and left out."""
    for i in range(8 + int.from_bytes(content[:8], "little")):
        for new in {content[i] ^ 1, content[i] ^ 0x80, 0x30, 0x22} - {content[i]}:
            yield content[:i] + bytes([new]) + content[i + 1 :]
        yield content[:i] + content[i + 1 :]


def with_lengths(content: bytes) -> Iterator[bytes]:
    """Cut off at each byte; more at the end; other lengths in front."""
    yield from (content[:i] for i in range(len(content)))
    yield from (content + extra for extra in (b"\x00", b"x" * 8, content))
    size = int.from_bytes(content[:8], "little")
    for length in (
        0,
        1,
        2,
        size - 1,
        size + 1,
        len(content) - 8,
        len(content),
        10**8,
        10**8 + 1,
        2**31,
        2**63,
        2**64 - 1,
    ):
        yield length.to_bytes(8, "little") + content[8:]
    yield content[:8][::-1] + content[8:]


def with_texts(content: bytes) -> Iterator[bytes]:
    """Headers that are hardly JSON; awkward values where they do not count; keys that stand twice."""
    yield from (day01.file(text) for text in TEXTS)
    header, data = split(content)
    name, entry = next((key, value) for key, value in header.items() if key != "__metadata__")
    rest = json.dumps({key: value for key, value in header.items() if key != name})[1:-1]
    fields = json.dumps(entry)[:-1]
    quoted = json.dumps(name)

    def around(inside: str, tail: str = rest) -> bytes:
        return day01.file(f"{{{quoted}:{inside}{',' if tail else ''}{tail}}}".encode(), data)

    yield from (around(f'{fields},"ignored":{value}}}') for value in VALUES)
    yield from (around(f'{{"ignored":{value},{fields[1:]}}}') for value in VALUES)
    yield from (around(f'{fields},"dtype":"F32"}}'), around(f'{fields},"ignored":1,"ignored":1}}'))
    yield around(f"{fields}}}", f"{quoted}:{fields}}},{rest}" if rest else f"{quoted}:{fields}}}")
    yield around(
        f"{fields}}}", f'"__metadata__":{{"a":"b","a":"c"}},{rest}' if rest else '"__metadata__":{"a":"b","a":"c"}'
    )
    yield around(
        f"{fields}}}",
        f'"__metadata__":null,"__metadata__":null,{rest}' if rest else '"__metadata__":{},"__metadata__":{}',
    )
    for escaped in ("\\u0000", "\\ud83d\\ude00", "\\ud83d", "\\n", "é", "\\u00e9"):
        yield day01.file(f'{{"{escaped}":{fields}}}{"," if rest else ""}{rest}}}'.encode(), data)


def with_layouts() -> Iterator[bytes]:
    """Two tensors of bytes at all offsets from 0 to 4, in 4 bytes of data: most overlap or leave holes."""
    spans = [(a, b) for a in range(5) for b in range(5)]
    for chosen in itertools.product(spans, repeat=2):
        tensors = {
            f"t{i}": {"dtype": "U8", "shape": [max(b - a, 0)], "data_offsets": [a, b]}
            for i, (a, b) in enumerate(chosen)
        }
        yield day01.file(tensors, bytes(4))


def with_dtypes() -> Iterator[bytes]:
    """Every dtype and some that are none, with numbers of elements and bytes that fit and that do not."""
    for dtype in [*file_oracles.BITS, "F128", "C128", "I4", "U4", "BIT", "F8_E4M3FN", "bfloat16"]:
        for elements in range(5):
            bits = elements * file_oracles.BITS.get(dtype, 8)
            for size in {bits // 8, bits // 8 + 1, -(-bits // 8)}:
                tensor = {"dtype": dtype, "shape": [elements], "data_offsets": [0, size]}
                yield day01.file({"w": tensor}, bytes(range(size)))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "damage", [with_values, with_bytes, with_lengths, with_texts], ids=lambda damage: damage.__name__
)
def test_damaged_files_are_refused_where_the_library_refuses_them(tmp_path, damage, base):
    seen = Counter(verdict(tmp_path / "x.safetensors", content) for content in damage(BASES[base]))
    assert seen["refused"] >= 30, seen
    assert seen["read"] >= (0 if damage is with_lengths else 5), seen


@pytest.mark.parametrize("made", [with_layouts, with_dtypes], ids=lambda made: made.__name__)
def test_all_layouts_and_dtypes(tmp_path, made):
    seen = Counter(verdict(tmp_path / "x.safetensors", content) for content in made())
    assert seen["refused"] >= 30, seen
    assert seen["read"] >= 10, seen


@pytest.mark.parametrize("base", BASES)
def test_good_files_are_read(tmp_path, base):
    assert verdict(tmp_path / "x.safetensors", BASES[base]) == "read"


def test_random_damage(tmp_path):
    """A thousand files with one to six random bytes written over, put in or left out."""
    rng = np.random.default_rng(20491)
    seen: Counter[str] = Counter()
    for _ in range(1000):
        content = bytearray(BASES[str(rng.choice(list(BASES)))])
        header = 8 + int.from_bytes(content[:8], "little")
        for _ in range(rng.integers(1, 7)):
            i, byte = int(rng.integers(header)), int(rng.choice(list(b'0123456789,:[]{}" -.eE\\aF\xff')))
            match rng.integers(3):
                case 0:
                    content[i] = byte
                case 1:
                    content.insert(i, byte)
                case _:
                    del content[i]
        seen[verdict(tmp_path / "x.safetensors", bytes(content))] += 1
    assert seen["refused"] > 500


# ---- the one difference ----------------------------------------------------------------------------------------------------

ONE = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'


@pytest.mark.parametrize(
    "header",
    [
        f'{{"a":{ONE},"a":{ONE}}}',
        f'{{"a":{ONE},"\\u0061":{ONE}}}',
        f'{{"a":{{"dtype":"U8","shape":[9],"data_offsets":[0,9]}},"a":{ONE}}}',
        f'{{"a":{ONE},"__metadata__":{{"k":"1","k":"2"}}}}',
        f'{{"a":{ONE[:-1]},"more":1,"more":2}}}}',
    ],
)
def test_a_key_that_stands_twice_is_refused_though_the_library_takes_the_last(tmp_path, header):
    assert verdict(tmp_path / "x.safetensors", day01.file(header.encode(), b"x")) == "twice"


@pytest.mark.parametrize("header", [f'{{"a":{ONE[:-1]},"shape":[1]}}}}', '{"__metadata__":{},"__metadata__":{}}'])
def test_fields_and_metadata_that_stand_twice_both_refuse(tmp_path, header):
    assert verdict(tmp_path / "x.safetensors", day01.file(header.encode(), b"x" * header.count("U8"))) == "refused"


def test_the_longest_header(tmp_path):
    """100,000,000 bytes, most of them padding, and one more."""
    path = tmp_path / "x.safetensors"
    text = b"{}".ljust(LESSON.MAX_HEADER)
    assert verdict(path, day01.file(text)) == "read"
    assert verdict(path, day01.file(text + b" ")) == "refused"
    with pytest.raises(ValueError, match=f"header length is 100000001: expected at most {LESSON.MAX_HEADER} bytes"):
        LESSON.header_bytes(path)


# ---- any header ------------------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(0, 6), st.sampled_from([-1, 2**32, 2**63, 2**64 - 1, 2**64]), st.floats(0, 4), st.booleans()
)
anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
names = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.sampled_from(["w", "__metadata__"]))
dtypes = st.sampled_from(list(file_oracles.BITS))


@st.composite
def headers(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Tensors one after the other, some of them not as they should be, listed in any order; and the size of the data."""
    place = 0
    found: dict[str, Any] = {}
    for name in draw(st.lists(names, unique=True, max_size=4)):
        dtype = draw(dtypes)
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        size = int(np.prod(shape, dtype=object)) * file_oracles.BITS[dtype] // 8
        found[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
        match draw(st.integers(0, 9)):
            case 0:
                found[name][draw(st.sampled_from(LESSON.FIELDS))] = draw(anything)
            case 1:
                found[name]["shape"] = draw(st.lists(numbers, max_size=3))
            case 2:
                found[name]["data_offsets"] = draw(st.lists(numbers, min_size=1, max_size=3))
            case 3:
                found[name][draw(st.text(max_size=5))] = draw(anything)
            case 4:
                found[name] = draw(anything)
    if draw(st.booleans()):
        found["__metadata__"] = draw(st.one_of(st.dictionaries(st.text(max_size=3), st.text(max_size=3)), anything))
    return dict(draw(st.permutations(list(found.items())))), place


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=headers(), escaped=st.booleans(), padding=st.integers(0, 9), extra=st.sampled_from([0, 0, 0, 1, -1]))
@example(
    made=({"w": {"dtype": "F32", "shape": [0, 2**63, 4], "data_offsets": [0, 0]}}, 0), escaped=True, padding=0, extra=0
)
@example(made=({"__metadata__": ["", "", ""]}, 0), escaped=True, padding=0, extra=0)
@example(made=({"__metadata__": {"dtype": {"F32": None}}}, 0), escaped=True, padding=0, extra=0)
def test_any_header(tmp_path, made, escaped, padding, extra):
    header, size = made
    text = json.dumps(header, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    verdict(tmp_path / "x.safetensors", day01.file(text, bytes(max(0, size + extra)), after=b" " * padding))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_any_bytes(tmp_path, content):
    verdict(tmp_path / "x.safetensors", content)
    verdict(tmp_path / "x.safetensors", day01.file(content))


# ---- views ---------------------------------------------------------------------------------------------------------------


def test_views_outlive_the_call_and_cannot_write(tmp_path):
    values = np.arange(6, dtype=ml_dtypes.bfloat16)
    path = tmp_path / "x.safetensors"
    path.write_bytes(day01.file(*day01.table({"w": ("BF16", (2, 3))})[:1], values.tobytes()))
    view = LESSON.open_tensors(path)["w"]
    np.testing.assert_array_equal(view, values.reshape(2, 3))
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1


def test_views_are_of_the_file_itself(tmp_path):
    """What changes in the file changes in the view: nothing was copied."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(day01.file(day01.table({"w": ("U8", (4,))})[0], b"abcd"))
    view = LESSON.open_tensors(path)["w"]
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"wxyz")
    assert view.tobytes() == b"wxyz"


def test_the_oracle_says_what_the_lesson_says():
    """The two are written apart; on a file with every awkward thing they must agree."""
    for make in (day01.good(day01.WITH_EMPTY, backwards=True), day01.good(day01.DEEP), day01.written_oddly):
        file = make(np.random.default_rng(1))[0]
        assert isinstance(file, File)
        assert file_oracles.header(file)["tensors"].keys() == file_oracles.tensors(file).keys()
