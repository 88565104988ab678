"""`python -m engine generate` and `chat`: a tiny model with a small tokenizer, driven as from a terminal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from engine import hub, pieces
from grader import goldens, small_tokenizer
from grader.curriculum import REPOSITORY, find


def test_generate_prints_the_text_and_one_line_about_it(folder, run):
    done = run("generate", str(folder), "Hello world", "--greedy", "--max-tokens", "6")
    assert done.returncode == 0, done.stderr
    assert "6 tokens, ended by max tokens, first after" in done.stderr
    record = run("generate", str(folder), "-", "--greedy", "--max-tokens", "6", "--json", given="Hello world")
    said = json.loads(record.stdout)
    assert done.stdout == said["text"] + "\n"
    assert len(said["ids"]) == len(said["token_s"]) == 6
    assert said["prompt_ids"] == small_tokenizer.ids_of("Hello", " world")
    assert said["finish"] == "max tokens"
    assert said["pieces"]["generate"] == said["pieces"]["decode_attention"] == "reference"
    assert record.stderr == ""


def test_the_same_seed_gives_the_same_answer(folder, run):
    sampled = ("generate", str(folder), "Hello", "--max-tokens", "8", "--temperature", "20", "--json")
    first, again, other = (json.loads(run(*sampled, "--seed", seed).stdout)["ids"] for seed in ("1", "1", "2"))
    assert first == again != other


def test_generate_ends_before_a_stop_string(folder, run):
    whole = json.loads(run("generate", str(folder), "Hello", "--greedy", "--max-tokens", "8", "--json").stdout)["text"]
    stop = whole[len(whole) // 2 :][:2]
    cut = json.loads(
        run("generate", str(folder), "Hello", "--greedy", "--max-tokens", "8", "--json", "--stop", stop).stdout
    )
    assert cut["text"] == whole[: whole.index(stop)]
    assert cut["finish"] == "stop string"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "--greedy"), "the prompt is empty"),
        (("a" * 300, "--greedy"), "300 tokens: expected at most 256"),
        (("a", "--greedy", "--stop", ""), "stop_strings"),
        (("a", "--greedy", "--device", "tpu"), "unknown device 'tpu'"),
        (("a", "--top-p", "1.5"), "top_p is 1.5"),
    ],
)
def test_what_is_refused_is_said_in_one_line(folder, arguments, words, run):
    done = run("generate", str(folder), *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_mine_runs_on_the_pieces_that_passed(folder, tmp_path, run):
    """Two days passed, one was edited since; with the stubs in place, the passed one says that it is not solved."""
    progress = tmp_path / "progress.json"
    argmax, rope = find("day18"), find("day11")
    hashes = {argmax.name: pieces.source_hash(argmax.lesson, argmax.files), rope.name: "0" * 16}
    progress.write_text(json.dumps({name: {"source_hash": value} for name, value in hashes.items()}))
    done = run("generate", str(folder), "Hello", "--greedy", "--mine", WARP60_PROGRESS=str(progress))
    assert "your pieces: argmax\n" in done.stderr
    assert done.returncode != 0
    assert "day 18" in done.stderr
    progress.write_text("[]")
    done = run("generate", str(folder), "Hello", "--greedy", "--mine", WARP60_PROGRESS=str(progress))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"error: --mine: {progress} cannot be read" in done.stderr
    done = run(
        "generate",
        str(folder),
        "Hello",
        "--greedy",
        "--mine",
        "--max-tokens",
        "1",
        WARP60_PROGRESS=str(tmp_path / "no"),
    )
    assert done.returncode == 0
    assert "your pieces: none yet" in done.stderr


def test_chat_keeps_a_conversation(folder, run):
    script = "Hello\n/reset\nHello\n/help\n/nonsense\n\n/quit\nHello\n"
    done = run("chat", str(folder), "--greedy", "--max-tokens", "4", given=script)
    assert done.returncode == 0, done.stderr
    answers = [part for part in done.stdout.split("> ") if part.strip()]
    assert len(answers) == 2  # nothing after /quit
    assert answers[0] == answers[1]  # the second begins anew
    for words in ("a new conversation", "Ctrl-C  stops an answer", "/nonsense is no command"):
        assert words in done.stderr
    longer = run("chat", str(folder), "--greedy", "--max-tokens", "4", given="Hello\nHello\n")
    parts = [part for part in longer.stdout.split("> ") if part.strip()]
    assert parts[0] == answers[0]
    assert longer.returncode == 0  # the input's end is an end


def test_chat_says_when_the_conversation_is_too_long_and_goes_on(folder, run):
    done = run("chat", str(folder), "--greedy", "--max-tokens", "2", given="a" * 300 + "\nHello\n")
    assert done.returncode == 0
    assert "the prompt has" in done.stderr
    assert "/reset begins anew" in done.stderr
    assert len([part for part in done.stdout.split("> ") if part.strip()]) == 1


def test_chat_refuses_a_model_without_a_template(folder, tmp_path, run):
    plain = shutil.copytree(folder, tmp_path / "plain")
    for name, content in small_tokenizer.folder().files.items():
        (plain / name).write_bytes(content)
    done = run("chat", str(plain), "--greedy", given="Hello\n")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "chat_template" in done.stderr


def test_ctrl_c_stops_the_answer_and_not_the_program(folder, tmp_path):
    longer = tmp_path / "longer"  # an answer that takes its time
    shutil.copytree(folder, longer)
    fields = json.loads((longer / "config.json").read_text())
    (longer / "config.json").write_text(json.dumps({**fields, "max_position_embeddings": 8192}))
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "chat", str(longer), "--greedy", "--max-tokens", "8000"],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "WARP60_DEVICE": "cpu", "EMULATOR_THREADS": "1"},
    )  # fmt: skip
    watchdog = threading.Timer(100, process.kill)
    watchdog.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Hello\n")
        process.stdin.flush()
        heard = b""

        def hear() -> bytes:
            more = process.stdout.read1(4096)
            assert more, heard
            return more

        while len(heard) < 8:  # the prompt, and the beginning of an answer
            heard += hear()
        process.send_signal(signal.SIGINT)
        while "…".encode() not in heard:
            heard += hear()
        out, err = process.communicate(b"/quit\n")
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert (heard + out).endswith(b"> ")


def test_the_capital_of_france(run):
    if hub.find("smollm2-135m") is None:
        pytest.skip("NOT RUN: the model is not here: python -m engine pull smollm2-135m")
    done = run("generate", "smollm2-135m", "The capital of France is", "--greedy", "--max-tokens", "2", "--json")
    said = json.loads(done.stdout)
    assert said["text"] == " Paris."
    assert said["ids"] == goldens.load("smollm2-135m")["prompts"]["capital"]["greedy"][:2]
