"""The commands of `python -m engine` that run a model on a prompt."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[
    str, typer.Argument(help="a model that was pulled, a model's folder, or a .gguf file", metavar="MODEL")
]
Prompt = Annotated[str, typer.Argument(help="the text; - reads it from standard input", metavar="PROMPT")]
Device = Annotated[str, typer.Option("--device", help="cuda or cpu; default: cuda where a GPU answers")]


@contextmanager
def errors() -> Iterator[None]:
    """What is wrong with the input, in one line and status 1."""
    from engine.device import DeviceError
    from engine.hub import HubError

    try:
        yield
    except (ValueError, HubError, DeviceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def prompt_text(prompt: str) -> str:
    """The prompt itself, or standard input."""
    return sys.stdin.read() if prompt == "-" else prompt


def open_model(name: str, device_name: str) -> tuple[Path, Any, Any]:
    """Folder, tokenizer and model.

    Raises:
        HubError, ValueError, DeviceError: what is missing or wrong.
    """
    from engine import device, gguf_model, hub, model
    from engine.tokenizer import Tokenizer

    device.select(device_name or None)
    if not name.endswith(".gguf"):
        folder = hub.require(name)
        return folder, Tokenizer(folder), model.load(folder)
    path = Path(name).expanduser()
    loaded = model.load(path)
    with tempfile.TemporaryDirectory() as folder_name:
        gguf_model.write_tokenizer(gguf_model.GGUFModel(path), Path(folder_name))
        return path, Tokenizer(folder_name), loaded


def logits(
    name: Model,
    prompt: Prompt,
    out: Annotated[Path, typer.Option("--out", help="the .npy file to write")],
    device_name: Device = "",
    all_positions: Annotated[
        bool, typer.Option("--all-positions", help="of every position, not of the last only")
    ] = False,
) -> None:
    """Write the logits after a prompt: float32 [vocab], or [tokens, vocab] with --all-positions."""
    import numpy as np

    from engine import device, evaluate

    with errors():
        if not out.parent.is_dir():
            raise ValueError(f"--out {out}: there is no folder {out.parent}")
        _, tokenizer, model = open_model(name, device_name)
        ids = tokenizer.encode(prompt_text(prompt))
        answer = evaluate.logits(model, ids, all_positions=all_positions)
        write_whole(out, lambda file: np.save(file, answer))
        best = int(answer.reshape(-1, answer.shape[-1])[-1].argmax())
    print(f"{out}: float32 {list(answer.shape)}, {len(ids)} tokens in, on {device.label()}; most likely next: "
          f"{tokenizer.decode([best])!r} (token {best})")  # fmt: skip


def write_whole(path: Path, write: Callable[[Any], None]) -> None:
    """Write beside the target, then rename: a full disk leaves no half file under that name."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def compare(
    name: Model,
    prompt: Prompt,
    device_name: Device = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Run Hugging Face Transformers beside the engine and say, layer by layer, where they part."""
    from engine import compare as comparing

    with errors():
        folder, tokenizer, model = open_model(name, device_name)
        result = comparing.compare(folder, model, tokenizer.encode(prompt_text(prompt)))
    comparing.show(result, as_json)
    raise typer.Exit(0 if result.agree else 1)


def register(app: typer.Typer) -> None:
    """Put these commands into an application."""
    for command in (logits, compare):
        app.command()(command)
