"""`python -m engine roofline` and what is below it: whose time is whose, on both devices, what the table and the plot say."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from engine import config, device, model, profiling, roofline_plot, roofline_report
from engine.roofline import kernels
from grader.curriculum import REPOSITORY
from grader.goldens import tiny

CEILINGS = {
    "read": {"bytes_per_s": 4e12}, "product": {"operations_per_s": 8e14}, "launch": {"median_s": 2e-6},
}  # fmt: skip


def tiny_model(name: str, **changed):
    fields = {**tiny.MODELS[name], **changed}
    weights = {key: device.to_device(values) for key, values in tiny.weights(name, 1, **changed).items()}
    return model.assemble(config.parse(fields), weights)


# ---- whose time is whose ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "length"), [(1, 1), (1, 9), (5, 5), (3, 8)])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_every_kernel_of_the_roofline_is_found_in_a_pass(on_cpu, name, tokens, length):
    ours = tiny_model(name)
    times = profiling.measure(ours, tokens, length)
    assert set(times) == {kernel.name for kernel in kernels(ours.config, tokens, length)}
    assert {len(times_s) for times_s in times.values()} == {profiling.PASSES["cpu"]}
    assert min(map(min, times.values())) > 0


class Counting(profiling.WallClock):
    """A clock that ticks once at each look."""

    def __init__(self):
        self.now = 0.0

    def mark(self):
        self.now += 1.0
        return self.now


@pytest.mark.parametrize("kv_heads", [2, 8])
def test_launches_are_those_of_the_roofline(on_cpu, kv_heads):
    """With a second for each launch, a kernel's sum is its number of launches; argmax has two."""
    ours = tiny_model("tiny-llama", num_key_value_heads=kv_heads)
    on_cpu.setattr(profiling, "WallClock", Counting)
    times = profiling.measure(ours, 1, 6)
    wanted = {kernel.name: float(kernel.launches) for kernel in kernels(ours.config, 1, 6)} | {"argmax": 2.0}
    assert {name: times_s[0] for name, times_s in times.items()} == wanted


def test_what_the_roofline_does_not_know_is_told_by_name(on_cpu):
    from engine.ops import decoder_layer, softmax

    plain = decoder_layer.attend
    on_cpu.setattr(decoder_layer, "attend", lambda q, k, v: softmax.softmax(plain(q, k, v)[0])[None])
    figures = roofline_report.measured(tiny_model("tiny-llama"), 1, 4, None)
    assert list(figures["others"]) == ["softmax"]
    on_cpu.setattr(decoder_layer, "attend", lambda q, _k, _v: q)
    figures = roofline_report.measured(tiny_model("tiny-llama"), 1, 4, None)
    assert [row["name"] for row in figures["kernels"] if "not_run" in row] == ["attention"]


# ---- events ------------------------------------------------------------------------------------------------------------


class Gpu:
    """A GPU that runs what is queued one after the other, each for a microsecond; a hold takes as long as it says."""

    def __init__(self):
        self.busy_until = 0.0
        self.host = 0.0  # seconds: what the host needs is set by the test
        self.host_step = 0.0

    def event(self):
        gpu = self

        class Event:
            def record(self):
                gpu.host += gpu.host_step
                gpu.busy_until = self.at = max(gpu.busy_until, gpu.host) + 1e-6

            @property
            def done(self):
                return self.at <= gpu.host

        return Event()

    def hold(self, milliseconds):
        self.busy_until = max(self.busy_until, self.host) + milliseconds / 1e3


@pytest.fixture
def gpu(on_cpu):
    made = Gpu()
    cuda = types.SimpleNamespace(Event=made.event, get_elapsed_time=lambda begin, end: 1e3 * (end.at - begin.at))
    on_cpu.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda))
    on_cpu.setattr(profiling, "WallClock", profiling.EventClock)  # the emulator computes, events tell the time
    on_cpu.setattr(profiling, "hold_gpu", made.hold)
    return made


def test_events_around_each_launch(gpu):
    gpu.host_step = 1e-5
    times = profiling.measure(tiny_model("tiny-qwen3"), 1, 5)
    launches = {kernel.name: kernel.launches for kernel in kernels(tiny_model("tiny-qwen3").config, 1, 5)}
    for name, times_s in times.items():  # a launch lies between two events, one microsecond apart
        assert times_s == pytest.approx([1e-6 * (2 if name == "argmax" else launches[name])] * len(times_s)), name


def test_a_gpu_that_waits_for_the_host_is_held_for_longer(gpu):
    gpu.host_step = 1e-4  # 32 events of a batch take longer than the first hold
    times = profiling.measure(tiny_model("tiny-qwen3"), 1, 5)
    assert times["o_proj"] == pytest.approx([2e-6] * len(times["o_proj"]))
    gpu.host_step = 1e-2
    with pytest.raises(device.DeviceError, match="is the CPU busy"):
        profiling.measure(tiny_model("tiny-qwen3"), 1, 5)


# ---- figures -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(on_cpu):
    """A decode step and a prompt of Llama 3.2 1B at made-up times: ten launches' overhead on top of twice the floor."""
    from grader.checks.day24 import LLAMA_3_2_1B

    sizes = config.parse(LLAMA_3_2_1B)
    standing = types.SimpleNamespace(config=sizes, embedding=np.zeros((1, 1), ml_dtypes.bfloat16))

    def times(_model, tokens, length):
        found = {}
        for kernel in kernels(sizes, tokens, length):
            each = 2e-5 + 2 * max(kernel.bytes / 4e12, kernel.operations / 8e14)
            found[kernel.name] = [kernel.launches * each * (1 + 0.01 * n) for n in (-1, 0, 1)]
        return found

    on_cpu.setattr(profiling, "measure", times)
    return lambda tokens, length, ceilings=CEILINGS: roofline_report.measured(standing, tokens, length, ceilings)


def test_figures_with_ceilings(measured):
    figures = measured(1, 256)
    rows = {row["name"]: row for row in figures["kernels"]}
    head = rows["lm_head"]
    assert head["bytes"] == 2 * 128256 * 2048 + 4 * (2048 + 128256)
    assert head["median_s"] == pytest.approx(2e-5 + 2 * head["floor_s"])
    assert head["share"] == pytest.approx(head["floor_s"] / head["median_s"])
    assert head["bound"] == "bytes"
    assert figures["ridge"] == 200
    assert figures["bottlenecks"] == ["norm", "add", "gate_proj"]  # launches of nothing but overhead, twice as many
    assert figures["longest"][:2] == ["norm", "add"]
    prompt = {row["name"]: row for row in measured(512, 512)["kernels"]}
    assert prompt["gate_proj"]["bound"] == "operations"
    assert prompt["lm_head"]["bound"] == "bytes"
    assert json.loads(json.dumps(figures)) == figures


def test_figures_without_ceilings(measured):
    figures = measured(1, 256, None)
    assert figures["bottlenecks"] is None
    assert "emulator" in figures["why_no_ceilings"]
    assert all("floor_s" not in row for row in figures["kernels"])
    assert len(figures["longest"]) == 3


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (999_600, "1 M"), (525_336_576, "525 M"), (8e14, "800 T")],
)
def test_scaled(number, text):
    assert roofline_report.scaled(number) == text


def test_the_table_fits_a_narrow_terminal(measured, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for tokens, length in ((1, 256), (512, 512)):
        roofline_report.show(measured(tokens, length), "Llama on X1")
    out = capsys.readouterr().out
    assert "…" not in out
    assert "a decode step, token 256 of a text" in out
    assert "prefill, a prompt of 512 tokens" in out
    assert "most time lost: norm" in out
    assert re.search(r"gate_proj +16 +33.6 M +33.6 M +0.999 +36.8 +8.4 +23 % +bytes", out)
    roofline_report.show(measured(1, 256, None), "Llama on cpu")
    assert "floor, share and bound: n/a" in capsys.readouterr().out


# ---- the plot ----------------------------------------------------------------------------------------------------------


def test_the_plot_says_what_it_shows(measured):
    passes = [measured(1, 256), measured(512, 512)]
    drawn = roofline_plot.svg("Llama on X1", passes, CEILINGS)
    assert drawn == roofline_plot.svg("Llama on X1", passes, CEILINGS)
    description = re.search("<desc>(.*?)</desc>", drawn)[1]
    assert "4 TB/s and 800 T op/s" in description
    assert "gate_proj 0.999 op/byte" in description
    assert "argmax" not in description  # no operations: no place on logarithmic axes
    words = re.findall("<text[^>]*>([^<]*)</text>", drawn)
    for name in ("lm_head", "attention", "800 T op/s", "4 TB/s"):
        assert name in " ".join(words)


@pytest.mark.parametrize("suffix", roofline_plot.FORMATS)
def test_the_plot_is_written(measured, tmp_path, suffix):
    path = tmp_path / f"roof{suffix}"
    roofline_plot.check(path)
    roofline_plot.write(path, "Llama on cpu", [measured(1, 256, None)], None)
    beginning = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(beginning)


def test_labels_do_not_overlap():
    heights = roofline_plot._apart([0.1, 0.1, 0.11, 0.97, 0.98, 0.99], 0.05)
    assert all(b - a >= 0.05 - 1e-9 for a, b in itertools.pairwise(heights))
    assert heights[0] == 0.1
    assert heights[-1] == 1.0


def test_what_cannot_be_drawn_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in \.svg"):
        roofline_plot.check(tmp_path / "roof.txt")
    with pytest.raises(ValueError, match="no folder"):
        roofline_plot.check(tmp_path / "no" / "roof.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[report\]'"):
        roofline_plot.check(tmp_path / "roof.svg")


# ---- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from safetensors.numpy import save

    from grader import small_tokenizer

    path = tmp_path_factory.mktemp("models") / "tiny"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(tiny.QWEN3))
    (path / "model.safetensors").write_bytes(save(tiny.weights("tiny-qwen3", 3)))
    for name, content in small_tokenizer.folder().files.items():
        (path / name).write_bytes(content)
    return path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", "roofline", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "WARP60_DEVICE": "cpu", "COLUMNS": "100"},
    )  # fmt: skip


def test_the_command_prints_and_draws(folder, tmp_path):
    done = run(str(folder), "--context", "7", "--plot", str(tmp_path / "roof.svg"))
    assert done.returncode == 0, done.stderr
    assert "on cpu (emulated CUDA): a decode step, token 7 of a text" in " ".join(done.stdout.split())
    assert "not a GPU's" in " ".join(done.stdout.split())
    assert (tmp_path / "roof.svg").read_text().endswith("</svg>\n")


def test_the_command_s_json(folder):
    said = json.loads(run(str(folder), "--prefill", "5", "--json").stdout)
    assert (said["tokens"], said["length"], said["ceilings"], said["others"]) == (5, 5, None, {})
    assert (said["model"], said["command"]) == ("tiny", "python -m engine roofline tiny --prefill 5 --json")
    assert {"date", "machine", "device"} <= said.keys()
    work = kernels(config.parse(tiny.QWEN3), 5, 5)
    assert [(k["name"], k["launches"], k["bytes"]) for k in said["kernels"]] == [
        (k.name, k.launches, k.bytes) for k in work
    ]
    assert all(k["quartile1_s"] <= k["median_s"] <= k["quartile3_s"] for k in said["kernels"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--context", "257"), "length is 257: expected a whole number from 1 to 256"),
        (("--prefill", "300"), "length is 300"),
        (("--plot", "roof.txt"), "--plot roof.txt: expected a file that ends in .svg"),
        (("--device", "tpu"), "unknown device 'tpu'"),
    ],
)
def test_what_is_refused_is_said_in_one_line(folder, arguments, words):
    done = run(str(folder), *arguments)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, "")
    assert words in done.stderr


@pytest.mark.gpu
def test_on_a_gpu_matrices_stay_below_the_ceiling(on_cpu):
    from engine import ceilings

    on_cpu.setattr(device, "_choice", None)
    device.select("cuda")
    figures = roofline_report.measured(tiny_model("tiny-llama", vocab_size=100_000), 1, 9, ceilings.measure())
    assert figures["others"] == {}
    assert all(0 < row["share"] < 1 for row in figures["kernels"])
