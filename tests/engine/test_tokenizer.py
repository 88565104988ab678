"""The engine's tokenizer: as Transformers answers, stored and live; streams that break no character; hostile folders."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Library

from engine import hub, tokenizer_files
from engine.tokenizer import Tokenizer, byte_alphabet
from grader import awkward, goldens, small_tokenizer
from grader.spec import Folder
from tests.engine.tiny_gguf import make_gguf

STORED = goldens.load("tokenizer")
TEXTS = awkward.named_texts()
USER = {"role": "user", "content": "Hi"}
MODEL = "smollm2-135m"
awkward_pieces = st.sampled_from(
    [*" \n'0aé€🙂\u200d\u0301\ufffd", *small_tokenizer.SPECIAL, *small_tokenizer.OTHER_ADDED]
)
any_text = st.lists(st.one_of(st.characters(exclude_categories=["Cs"]), awkward_pieces)).map("".join)
any_ids = st.lists(st.integers(0, len(small_tokenizer.token_bytes()) - 1), max_size=12)
lasting = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Folder, place: Path) -> Path:
    for name, content in folder.files.items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    return written(small_tokenizer.folder(file="begins"), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def small(small_folder):
    return Tokenizer(small_folder)


@pytest.fixture(scope="module")
def library(small_folder):
    return Library.from_file(str(small_folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def model_folder():
    found = hub.find(MODEL)
    if found is None:
        pytest.skip(f"NOT RUN: the model is not here: python -m engine pull {MODEL}")
    return found


@pytest.fixture(scope="module")
def model(model_folder):
    return Tokenizer(model_folder)


@pytest.fixture(params=["small", MODEL])
def both(request):
    """The goldens of a tokenizer, and the tokenizer."""
    return STORED[request.param], request.getfixturevalue("small" if request.param == "small" else "model")


# ---- as Transformers answers -------------------------------------------------------------------------------------------


def test_the_goldens_are_of_these_texts():
    assert set(STORED["small"]) == set(STORED[MODEL]) == set(TEXTS)
    assert all(STORED["small"][name]["text"] == STORED[MODEL][name]["text"] == text for name, text in TEXTS.items())
    assert set(STORED["chats"]) == set(awkward.CHATS)
    assert {"transformers", "tokenizers", "command", "date"} <= set(STORED["made_by"])


@pytest.mark.parametrize("name", TEXTS)
def test_texts_and_ids(both, name):
    stored, tokenizer = both
    golden = stored[name]
    assert tokenizer.encode(golden["text"]) == golden["ids"]
    assert tokenizer.encode(golden["text"], add_special_tokens=False) == golden["plain_ids"]
    assert tokenizer.decode(golden["ids"]) == golden["decoded"]
    assert tokenizer.decode(golden["ids"], skip_special_tokens=True) == golden["decoded_without_special"]
    assert "".join(tokenizer.stream(iter(golden["ids"]))) == golden["decoded"]


@pytest.mark.parametrize("name", awkward.FRAMES)
def test_what_stands_around_a_text(tmp_path, name):
    folder = written(small_tokenizer.folder(**awkward.FRAMES[name]), tmp_path)
    assert Tokenizer(folder).encode(awkward.FRAMED) == STORED["frames"][name]


@pytest.mark.parametrize("name", awkward.CHATS)
def test_conversations(tmp_path, request, name):
    template, messages, prompt = awkward.CHATS[name]
    before = json.dumps(messages)
    small = written(awkward.chat_folder(template), tmp_path) if template else None
    tokenizer = Tokenizer(small) if small else request.getfixturevalue("model")
    assert tokenizer.apply_chat_template(messages, prompt) == STORED["chats"][name]["text"]
    assert tokenizer.encode_chat(messages, prompt) == STORED["chats"][name]["ids"]
    assert json.dumps(messages) == before


@pytest.fixture(scope="module", params=["small", MODEL])
def pair(request):
    """Ours, and Transformers'."""
    from transformers import AutoTokenizer

    folder = request.getfixturevalue("small_folder" if request.param == "small" else "model_folder")
    return Tokenizer(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.goldens
class TestBesideTransformers:
    @lasting
    @given(text=any_text, add=st.booleans(), skip=st.booleans())
    def test_texts(self, pair, text, add, skip):
        ours, theirs = pair
        ids = ours.encode(text, add_special_tokens=add)
        assert ids == theirs(text, add_special_tokens=add)["input_ids"]
        assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)

    @lasting
    @given(ids=any_ids, skip=st.booleans())
    def test_any_ids(self, pair, ids, skip):
        ours, theirs = pair
        assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)

    @pytest.mark.parametrize("template", awkward.TEMPLATES)
    @lasting
    @given(contents=st.lists(any_text, min_size=1, max_size=5), prompt=st.booleans())
    def test_conversations(self, tmp_path_factory, template, contents, prompt):
        from transformers import AutoTokenizer

        folder = written(awkward.chat_folder(template), tmp_path_factory.mktemp("chat"))
        ours, theirs = Tokenizer(folder), AutoTokenizer.from_pretrained(folder)
        roles = itertools.cycle(["system", "user", "assistant"])
        messages = [{"role": role, "content": text, "name": None} for role, text in zip(roles, contents, strict=False)]
        rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
        assert ours.apply_chat_template(messages, prompt) == rendered
        ids = theirs.apply_chat_template(messages, tokenize=True, add_generation_prompt=prompt)["input_ids"]
        assert ours.encode_chat(messages, prompt) == list(ids)


# ---- bytes -------------------------------------------------------------------------------------------------------------


def test_alphabet_is_the_librarys():
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = byte_alphabet()
    assert set(alphabet) == set(ByteLevel.alphabet())
    assert sorted(alphabet.values()) == list(range(256))
    stand_ins = {byte: character for character, byte in alphabet.items()}
    pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    for text in [chr(code) for code in range(0x250)] + ["日本語", "🙂\U0010ffff"]:
        assert pre_tokenizer.pre_tokenize_str(text)[0][0] == "".join(stand_ins[byte] for byte in text.encode())


def test_every_token_is_the_bytes_it_was_made_of(small):
    assert tuple(map(small.token_bytes, range(len(small_tokenizer.token_bytes())))) == small_tokenizer.token_bytes()


def test_an_added_token_that_looks_like_stand_ins_is_text_all_the_same(tmp_path, small_folder):
    """The library takes its é for byte E9."""
    library = Library.from_file(str(small_folder / "tokenizer.json"))
    library.add_tokens([AddedToken("éclair", normalized=False)])
    (tmp_path / "tokenizer.json").write_text(library.to_str())
    tokenizer = Tokenizer(tmp_path)
    ids = tokenizer.encode("an éclair")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "an éclair"
    assert library.decode(ids) == "an \ufffdclair"


# ---- streams -----------------------------------------------------------------------------------------------------------

CONTINUATIONS = [
    small_tokenizer.ids_of(*map(bytes, zip(more, strict=True)))
    for size in (1, 2, 3)
    for more in itertools.product((0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF), repeat=size)
]


def with_bytes(*data: int) -> list[int]:
    return small_tokenizer.ids_of(*(bytes([byte]) for byte in data))


@lasting
@given(ids=any_ids, skip=st.booleans())
def test_pieces_join_to_the_librarys_text(small, library, ids, skip):
    pieces = list(small.stream(iter(ids), skip))
    assert "".join(pieces) == small.decode(ids, skip) == library.decode(ids, skip_special_tokens=skip)
    assert len(pieces) in (len(ids), len(ids) + 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.sampled_from(b"aa\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82\xe0\xf4\xff\xc0"), max_size=5))
def test_shown_is_what_no_continuation_changes_and_all_of_it(small, library, data):
    """Every way on is tried: what was shown stays in all of them, and where all agree on more, more was shown."""
    ids = with_bytes(*data)
    shown = "".join(itertools.islice(small.stream(ids), len(ids)))
    ways = [library.decode(ids + more) for more in CONTINUATIONS] + [library.decode(ids + with_bytes(0x61))]
    assert all(way.startswith(shown) for way in ways)
    assert len({way[len(shown) : len(shown) + 1] for way in ways}) > 1


@pytest.mark.parametrize(
    ("ids", "pieces"),
    [
        ([], []),
        (with_bytes(0xF0, 0x9F, 0x99, 0x82), ["", "", "", "🙂"]),
        (with_bytes(0xF0, 0x9F, 0x99), ["", "", "", "\ufffd"]),
        (with_bytes(0xF0, 0x9F, 0x61, 0x80), ["", "", "\ufffda", "\ufffd"]),
        (with_bytes(0xEF, 0xBF, 0xBD, 0x61), ["", "", "\ufffd", "a"]),
        (small_tokenizer.ids_of(b"e\xcc", b"\x81"), ["e", "\u0301"]),
    ],
)
def test_pieces(small, ids, pieces):
    assert list(small.stream(ids)) == pieces


def test_a_piece_comes_before_the_next_id_is_made(small):
    made = []

    def model():
        for number in itertools.cycle(small_tokenizer.ids_of(" the", " block")):
            made.append(number)
            yield number

    stream = small.stream(model())
    assert made == []
    assert [next(stream) for _ in range(3)] == [" the", " block", " the"]
    assert len(made) == 3


def test_nothing_of_a_long_stream_is_kept(small):
    import tracemalloc

    def most(count: int) -> int:
        tracemalloc.start()
        for _ in small.stream(itertools.islice(itertools.cycle(with_bytes(0xF0, 0x9F, 0x99, 0x82)), count)):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(100)
    assert most(20_000) < most(100) + 10_000


@pytest.mark.parametrize("bad", [-1, 10**6, 2**32, 2**70, 2.0, "a", None])
def test_ids_of_no_token(small, bad):
    for answer in (small.token_bytes, lambda number: small.decode([5, number]), lambda n: list(small.stream([5, n]))):
        with pytest.raises(ValueError, match=f"^id {bad!r} "):
            answer(bad)


def test_ids_may_be_numpys(small):
    import numpy as np

    assert small.decode(np.array(small.encode("Hello", False), np.int32)) == "Hello"


# ---- folders -----------------------------------------------------------------------------------------------------------


def test_folder_of_a_gguf_file(tmp_path):
    from engine import gguf_model

    make_gguf(tmp_path / "tiny.gguf")
    gguf_model.convert(tmp_path / "tiny.gguf", tmp_path)
    tokenizer = Tokenizer(str(tmp_path))
    assert tokenizer.decode(tokenizer.encode("<|im_start|>hello 🙂")) == "<|im_start|>hello 🙂"
    assert tokenizer.files.special_tokens["eos_token"] == "<|im_end|>"
    assert "Hi" in tokenizer.apply_chat_template([USER])


@pytest.mark.parametrize("keep", [0, 1, 10, 0.25, 0.5, 0.75, 0.99])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_truncated_file(tmp_path, name, keep):
    folder = written(small_tokenizer.folder(template="x"), tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(keep if keep in (0, 1, 10) else keep * len(content))])
    with pytest.raises(ValueError, match=name):
        Tokenizer(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["not UTF-8", "a folder"])
def test_file_that_cannot_be_read(tmp_path, name, kind):
    folder = written(small_tokenizer.folder(), tmp_path)
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir() if kind == "a folder" else (folder / name).write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match=name):
        Tokenizer(folder)


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "[]",
        "{}",
        '{"model": {}}',
        '{"version": "1.0", "model": {"type": "BPE", "vocab": [], "merges": []}}',
        "[" * 10**5,
    ],
)
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_strange_json(tmp_path, name, content):
    folder = written(small_tokenizer.folder(), tmp_path)
    (folder / name).write_text(content)
    if name == "tokenizer_config.json" and content.startswith("{"):
        assert Tokenizer(folder).files.special_tokens == {}
    else:
        with pytest.raises(ValueError, match=name):
            Tokenizer(folder)


def test_another_kind_of_tokenizer_is_refused(tmp_path, small_folder):
    content = json.loads((small_folder / "tokenizer.json").read_text())
    content["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"tokenizer\.json: decoder is Metaspace: expected ByteLevel"):
        Tokenizer(tmp_path)


def test_tokenizer_json_is_enough(tmp_path, small_folder):
    (tmp_path / "tokenizer.json").write_bytes((small_folder / "tokenizer.json").read_bytes())
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.encode("Hello") == STORED["small"]["words 0"]["ids"][:2]
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: chat_template is missing"):
        tokenizer.apply_chat_template([USER])


# ---- chat templates ----------------------------------------------------------------------------------------------------


def chat(tmp_path: Path, template: str | None, **options) -> Tokenizer:
    return Tokenizer(written(small_tokenizer.folder(template=template, **options), tmp_path))


def test_a_file_of_its_own_comes_first(tmp_path):
    tokenizer = chat(tmp_path, "config", extra={"chat_template.jinja": "file {{ messages[0].content }}\n"})
    assert tokenizer.apply_chat_template([USER]) == "file Hi"


def test_of_several_templates_the_default(tmp_path):
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "{{ eos_token }}"}]
    assert chat(tmp_path, None, chat_template=several).apply_chat_template([USER]) == small_tokenizer.END


@pytest.mark.parametrize("template", [5, [], [{"name": "rag", "template": "x"}], ["x"], None])
def test_no_template(tmp_path, template):
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: chat_template is missing"):
        chat(tmp_path, None, chat_template=template).apply_chat_template([USER])


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__base__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ strftime_now.__globals__['sys'] }}",
        "{{ messages|attr('__class__')|attr('__mro__')|list }}{{ 1/0 }}",
        "{{ self._TemplateReference__context.environment }}",
        "{% set x = messages.append %}{{ x(1) }}",
        "{{ messages[0].update({'content': 'changed'}) }}",
        "{{ messages[0].pop('content') }}",
        "{{ messages.clear() }}",
        "{% include 'tokenizer.json' %}",
        "{% import 'os' as os %}",
        "{{ range(10 ** 9)|list }}",
        "{{ nobody.knows }}",
        "{{ 1 / 0 }}",
        "{{ tojson }}{{ (1).x.y }}",
        "{{ messages | tojson(indent='x', sort_keys=1, nonsense=2) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ raise_exception('never') }}",
        "{% generation %}",
        "{{ ",
    ],
)
def test_a_template_that_fails_or_breaks_out(tmp_path, template):
    messages = [dict(USER)]
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: chat_template: \w+: "):
        chat(tmp_path, template).apply_chat_template(messages)
    assert messages == [USER]


@pytest.mark.parametrize(
    "template", ["{{ messages.__class__ }}", "{{ '{0.__class__}'.format(messages) }}", "{{ strftime_now.__code__ }}"]
)
def test_what_a_template_may_not_see_is_not_there(tmp_path, template):
    assert chat(tmp_path, template).apply_chat_template([USER]) == ""


def test_time_and_tools(tmp_path):
    template = "{{ strftime_now('%Y') }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}"
    years = {str(datetime.now().year), str(datetime.now().year + 1)}
    rendered = chat(tmp_path, template).apply_chat_template([USER])
    assert rendered[:4] in years
    assert rendered[4:] == "TrueTrueTrue"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "messages is"),
        (None, "messages is None"),
        ("Hi", "messages is 'Hi'"),
        (USER, "messages is"),
        ([USER, "Hi"], r"messages\[1\] is 'Hi'"),
        ([USER, None], r"messages\[1\] is None"),
        ([{"content": "Hi"}], r"messages\[0\].*'role'"),
        ([{"role": "user", "content": None}], r"messages\[0\].*'content'"),
        ([{"role": 1, "content": "Hi"}], r"messages\[0\].*'role'"),
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], r"messages\[0\].*'content'"),
    ],
)
def test_bad_messages(tmp_path, messages, words):
    with pytest.raises(ValueError, match=words):
        chat(tmp_path, "x").apply_chat_template(messages)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\ud83d", "U\\+D83D at 1"),
        ("\udc80", "U\\+DC80 at 0"),
        (b"Hi", "text is bytes"),
        (None, "text is NoneType"),
        (["Hi"], "text is list"),
    ],
)
def test_bad_text(small, text, words):
    with pytest.raises(ValueError, match=words):
        small.encode(text)


def test_the_solution_of_day_4_is_the_engines():
    solution = Path(tokenizer_files.__file__).parents[1] / "solutions" / "day04_tokenizer" / "lesson.py"
    assert solution.samefile(Path(tokenizer_files.__file__).with_name("tokenizer.py"))
