"""Makes `grader/goldens/tokenizer.json`: what Transformers answers to awkward texts and conversations.

pip install -e '.[goldens]' && python -m engine pull smollm2-135m && python -m grader.goldens.make_tokenizer
"""

from __future__ import annotations

import datetime
import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine import hub
from grader import awkward, goldens, small_tokenizer
from grader.spec import Folder

MODEL = "smollm2-135m"


def load_folder(folder: Folder) -> PreTrainedTokenizerBase:
    """The small tokenizer in Transformers."""
    with tempfile.TemporaryDirectory() as place:
        for name, content in folder.files.items():
            (Path(place) / name).write_bytes(content)
        return AutoTokenizer.from_pretrained(place)


def text_golden(tokenizer: PreTrainedTokenizerBase, text: str) -> dict[str, Any]:
    """Ids of a text and their texts, with special tokens and without."""
    ids = tokenizer(text)["input_ids"]
    return {
        "text": text,
        "ids": ids,
        "plain_ids": tokenizer(text, add_special_tokens=False)["input_ids"],
        "decoded": tokenizer.decode(ids, skip_special_tokens=False),
        "decoded_without_special": tokenizer.decode(ids, skip_special_tokens=True),
    }


def chat_golden(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], add_generation_prompt: bool
) -> dict[str, Any]:
    """A conversation as text and as ids."""
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    encoded = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=add_generation_prompt)
    return {"text": rendered, "ids": list(encoded["input_ids"])}


def all_goldens() -> dict[str, Any]:
    """Texts and conversations, for the small tokenizer and for SmolLM2's."""
    small = load_folder(small_tokenizer.folder(file="begins"))
    model = AutoTokenizer.from_pretrained(hub.require(MODEL))
    texts = awkward.named_texts()
    return {
        "made_by": {
            "command": "python -m grader.goldens.make_tokenizer",
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "python": platform.python_version(),
            **{package: version(package) for package in ("transformers", "tokenizers", "jinja2")},
        },
        "small": {name: text_golden(small, text) for name, text in texts.items()},
        MODEL: {name: text_golden(model, text) for name, text in texts.items()},
        "frames": {
            name: load_folder(small_tokenizer.folder(**options))(awkward.FRAMED)["input_ids"]
            for name, options in awkward.FRAMES.items()
        },
        "chats": {
            name: chat_golden(load_folder(awkward.chat_folder(template)) if template else model, messages, prompt)
            for name, (template, messages, prompt) in awkward.CHATS.items()
        },
    }


if __name__ == "__main__":
    (goldens.FOLDER / "tokenizer.json").write_text(json.dumps(all_goldens()) + "\n")
