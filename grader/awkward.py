"""Texts and conversations that tokenizers and templates get wrong."""

from __future__ import annotations

from typing import Any

from grader import small_tokenizer
from grader.spec import Folder

# Invisible characters and those that turn the line around are written as escapes.
TEXTS: dict[str, tuple[str, ...]] = {
    "words": (
        "Hello world", "don't you'll I'M", " leading", "trailing ", "naïve café", "Straße ﬁ", " “yes” — no",
        "snake_case CamelCase",
    ),
    "whitespace": (" ", "   ", "a  b   c", "\t\ttabs\t", "line\nbreak\r\nwindows\n\n\n", "\u00a0no\u2003break\u3000", "end   "),
    "digits": ("1234567890", "3.14159", "1,000,000", "１２３", "٣٤٥", "x²+y³", "Ⅷ ½"),
    "emoji": (
        "🙂", "a🙂b", "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd", "❤\ufe0f",
        "\U0001f1e9\U0001f1ea\U0001f1ef\U0001f1f5", "1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    ),
    "combining characters": ("e\u0301 é", "Z\u0351\u036b\u0343", "क्षि नमस्ते", "가 \u1100\u1161", "น้ำ", "Ä A\u0308"),
    "Chinese, Japanese, Korean": ("日本語の文章です。", "汉字漢字", "한국어", "\U00020bb7野家", "「」、…"),
    "right to left": ("שלום עולם", "مرحبا بالعالم", "a\u202eb\u202cc", "\ufdfa", "עברית and English"),
    "control characters": (
        "\x00", "a\x00b", "\x01\x02\x1b[31m\x7f\x80\x9f", "\ufeffx", "\u200b\u2028\u2029", "\ufffd", "\ufffe\uffff",
        "\U0010ffff", "a\x04b", "\x06\x13\x14\x16\x1d", "\U00042000",
    ),
    "code": (
        "def f(x):\n    return x**2  # squares\n", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }",
        '{"a": [1, null], "b": "\\u0041"}\n', "<div class='x'>&nbsp;</div>", "https://example.org/?q=a%20b&c=d#e",
    ),
    "special tokens in the text": (
        "<|im_start|>user\nhi<|im_end|>\n", " <|im_end|> ", "<|im_start|><|im_start|>", "<|im_end", "|im_start|>",
        "<|IM_START|>", "<|begin|><|endoftext|>", "a<｜tool call｜>b<think>",
    ),
}  # fmt: skip


def named_texts() -> dict[str, str]:
    """Each of them under a name, the empty text, and all of them in one."""
    texts = {f"{theme} {place}": text for theme, several in TEXTS.items() for place, text in enumerate(several)}
    return texts | {"nothing": "", "everything": "\n".join(texts.values())}


# ---- conversations -----------------------------------------------------------------------------------------------------

# In place of these, a grading has words of its own.
WORDS = ("wordzero", "wordone", "wordtwo", "wordthree")

_LINES = """\
{% for message in messages %}
    {% if message['role'] == 'user' %}
User: {{ message['content'] }}
    {% else %}
{{ message['role'] | title }}: {{ message['content'] }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
Assistant:{{ ' ' }}
{% endif %}
"""

_LLAMA = """\
{{- bos_token }}
{%- if tools is not none or documents is not none %}{{- raise_exception('there are no tools here') }}{%- endif %}
{%- for message in messages %}
    {%- if message['role'] not in ['system', 'user', 'assistant'] %}
        {{- raise_exception('nobody here is called ' + message['role']) }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n\\n' + message['content'] | trim + '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n\\n' }}
{%- endif %}
"""

_JSON = """\
{%- for message in messages %}
    {{- message | tojson }}
    {{- '\\n' + message.content | tojson(indent=2) + eos_token }}
    {%- if message.tool_calls is defined %}{{- 'calls: ' + message.tool_calls | tojson }}{%- endif %}
{%- endfor %}
"""

_CONTROL = """\
{%- set seen = namespace(count=0) %}
{%- for message in messages %}
    {%- if message.role == 'system' %}{%- continue %}{%- endif %}
    {%- if seen.count == 2 %}{%- break %}{%- endif %}
    {%- set seen.count = seen.count + 1 %}
    {%- generation %}
    {{- seen.count ~ strftime_now('%%') ~ ' ' ~ message.content ~ '\\n' }}
    {%- endgeneration %}
{%- endfor %}
"""

TEMPLATES = {"lines": _LINES, "llama": _LLAMA, "json": _JSON, "control": _CONTROL}

_ONE = [{"role": "user", "content": "What is wordzero?"}]
_SEVERAL = [
    {"role": "system", "content": "You are wordone."},
    {"role": "user", "content": " wordtwo\n\n  and <b>wordzero</b> & 'café' "},
    {"role": "assistant", "content": "日本語 wordthree 🙂"},
    {"role": "user", "content": ""},
]
_WITH_MORE_KEYS: list[dict[str, Any]] = [
    {"role": "user", "content": "wordzero </b> é", "name": "wordone", "tool_calls": None},
    {"role": "assistant", "content": "wordtwo", "tool_calls": [{"id": 1, "arguments": {"x": "<wordthree>"}}]},
]

# Name → template (of `TEMPLATES`; "" for the model's own), messages, add_generation_prompt.
CHATS: dict[str, tuple[str, list[dict[str, Any]], bool]] = {
    "blocks on lines of their own": ("lines", _SEVERAL, True),
    "no head of an answer": ("lines", _SEVERAL[:3], False),
    "special tokens by their roles": ("llama", _SEVERAL, True),
    "one message": ("llama", _ONE, True),
    "JSON in the template": ("json", _WITH_MORE_KEYS, True),
    "loops, counters, generation blocks": ("control", _SEVERAL, False),
    "SmolLM2: one message": ("", _ONE, True),
    "SmolLM2: a conversation": ("", _SEVERAL, True),
    "SmolLM2: no head of an answer": ("", _SEVERAL[:3], False),
}


def chat_folder(template: str) -> Folder:
    """The small tokenizer with one of the templates."""
    return small_tokenizer.folder(file="begins", template=TEMPLATES[template])


# Options of `small_tokenizer.folder` that differ in what stands around a text, and a text.
FRAMED = "Hello, the block of a thread 🙂"
FRAMES: dict[str, dict[str, Any]] = {
    "tokenizer.json begins texts": {"file": "begins"},
    "tokenizer.json adds nothing": {},
    "tokenizer_config.json is not asked": {"add_bos_token": True},
    "tokenizer_config.json takes nothing away": {"file": "begins", "add_bos_token": False},
    "tokenizer.json cuts off and pads": {"file": "truncates"},
}
