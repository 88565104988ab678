"""The engine beside Hugging Face Transformers, in bfloat16, on one GPU: time to first token, tokens a second, memory.

All in one run, with the same prompts and numbers of tokens. Transformers is measured with eager attention, with PyTorch's
`scaled_dot_product_attention`, and compiled over a static cache: as `generate` does it, and in a loop with nothing around it.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import models
from engine import bench_report, benchmark, device, machine
from engine.benchmark import Continue, Instruments, Run, Summary, repeated, steady
from engine.timing import spread

PROMPT, TOKENS = 128, 64  # the headline
LENGTHS, TOKENS_AFTER = (16, 512, 2048), 32  # other prompts, of who needs no compiling
SECONDS, MOST = 12.0, 8  # limits of one measurement, without warm-ups
LEAST = 6  # runs that a record wants: fewer do not hold a median (day 23)
DEADLINE_S = 240.0  # of the whole suite: what would begin later is NOT RUN
OURS = "warp60, day 21's loop"
EAGER, SDPA = "Transformers, eager", "Transformers, sdpa"
STATIC, LOOP = "Transformers, static cache, compiled", "Transformers, a bare compiled loop"

Answer = Callable[[Sequence[int], int], list[int]]  # from a prompt, exactly so many tokens
Figures = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """Who is measured.

    Attributes:
        make: what goes on with a prompt, made when its turn comes.
        whole: it hands out nothing before its end: an `Answer`, no `Continue`.
        read: the instruments of its memory.
        cache_share: bytes of its cache beside ours.
    """

    name: str
    make: Callable[[], Any]
    read: Instruments
    whole: bool = False
    compiled: bool = False
    cache_share: float = 0.5


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Every model, every contender."""
    if (reason := models.why_no_peer()) is not None:
        return {"not_run": reason}
    read = context.get("ceilings", {}).get("read")
    begin = time.monotonic()
    rows: list[Figures] = []
    for name, peer in models.in_transformers():
        if isinstance(peer, str):
            rows.append({"model": name, "not_run": peer})
            continue
        prepare(peer)
        for row in of_model(peer, read, lambda: time.monotonic() - begin > DEADLINE_S):
            rows.append({"model": name, **row})
            print(f"{name}, {said(row)}", flush=True)
        del peer
        tidy()
    out = {**models.versions(), "device": device.label(), "read": read, "rows": rows}
    ours = [row["failed"] for row in rows if "failed" in row and row["contender"] == OURS]
    return out | ({"failed": ours[0]} if ours else {})


def of_model(peer: Any, read: Any, time_is_over: Callable[[], bool]) -> Iterator[Figures]:
    """The headline of all contenders, then other lengths of those that need no compiling."""
    ours, everybody = contenders(peer)
    shapes = [(PROMPT, TOKENS), *((length, TOKENS_AFTER) for length in LENGTHS)]
    told: dict[int, list[int]] = {}  # our tokens after each prompt
    for (length, tokens), contender in itertools.product(shapes, everybody):
        if length != PROMPT and contender.name not in (OURS, SDPA):
            continue
        row: Figures = {"contender": contender.name, "prompt_tokens": length}
        if time_is_over():
            yield {**row, "not_run": f"the suite's {DEADLINE_S:.0f} s were over"}
            continue
        try:
            ids = bench_report.prompt(length, ours.config.vocab_size)
            summary, answer = measured(contender, ids, tokens)
            told.setdefault(length, answer)
            same = sum(
                1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(answer, told[length], strict=True))
            )
            clock = machine.nvidia_smi("clocks.sm").get("clocks.sm")
            yield {**row, **figures(contender, summary, ours, length, read), "same_tokens": same, "clock_mhz": clock}
        except Exception as error:  # whatever a compiler says: the others go on
            yield {**row, "failed": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}
        tidy()


# ---- measuring -----------------------------------------------------------------------------------------------------------


def measured(contender: Contender, ids: list[int], tokens: int) -> tuple[Summary, list[int]]:
    """What the runs say, and the tokens of one of them.

    Raises:
        RuntimeError: the time was over before there were runs enough.
    """
    warm_ups = benchmark.WARM_UPS if contender.compiled else 1
    go_on = contender.make()
    last: list[int] = []

    def streamed(ids: Sequence[int], tokens: int) -> Iterator[int]:
        last.clear()
        for token in go_on(ids, tokens):
            last.append(token)
            yield token

    def whole(count: int) -> Continue:
        def call(ids: Sequence[int], _one: int) -> Iterator[int]:
            last[:] = go_on(ids, count)
            if len(last) != count:
                raise RuntimeError(f"{len(last)} tokens came: expected {count}")
            return iter(last[-1:])

        return call

    def runs(go_on: Continue, tokens: int) -> list[Run]:
        found = list(repeated(go_on, ids, tokens, contender.read, SECONDS, MOST, warm_ups))
        if len(found) < LEAST:
            raise RuntimeError(f"{len(found)} runs in {SECONDS:.0f} s: expected {LEAST}")
        return found

    if not contender.whole:
        return benchmark.summary(runs(streamed, tokens)), list(last)
    all_tokens = runs(whole(tokens), 1)  # first: a static cache is made as long as it has to be
    answer = list(last)
    return apart(runs(whole(1), 1), all_tokens, tokens), answer


def apart(ones: Sequence[Run], wholes: Sequence[Run], tokens: int) -> Summary:
    """First and further tokens of what hands out nothing before its end, from runs of one token and of all.

    Raises:
        ValueError: all tokens took no longer than one.
    """
    firsts = [run.first_s for run in ones]
    token_s = [(run.first_s - statistics.median(firsts)) / (tokens - 1) for run in wholes]
    if not min(token_s) > 0:
        raise ValueError(f"{tokens} tokens took no longer than one: expected more")
    return Summary(
        tokens=tokens,
        first=spread(firsts),
        token=spread(token_s),
        peak_bytes=max((run.peak_bytes for run in wholes if run.peak_bytes is not None), default=None),
        steady=steady(firsts) and steady(token_s),
    )


def figures(
    contender: Contender, summary: Summary, ours: bench_report.Subject, prompt: int, read: Any
) -> dict[str, Any]:
    """A summary as JSON, with the least bytes that a decode step must read and what share of the bandwidth they are."""
    out = {**asdict(summary), "tokens_per_s": summary.tokens_per_s}
    if summary.tokens_per_s is not None:
        cache = bench_report.decode_bytes(ours, prompt, summary.tokens) - ours.weight_bytes
        out["bytes_per_token"] = ours.weight_bytes + contender.cache_share * cache
        if read is not None:
            out["share_of_read"] = out["bytes_per_token"] * summary.tokens_per_s / read["bytes_per_s"]
    return out


def said(row: Figures) -> str:
    """A row in one line, for who watches."""
    words = f"{row['contender']}, {row['prompt_tokens']} tokens: "
    if "first" not in row:
        return words + next(f"{key}: {row[key]}" for key in ("not_run", "failed") if key in row)
    return words + f"{1000 * row['first']['median_s']:.1f} ms, {row['tokens_per_s']:.0f} tokens/s"


# ---- who is measured -----------------------------------------------------------------------------------------------------


def contenders(peer: Any) -> tuple[bench_report.Subject, list[Contender]]:
    """The engine, and Transformers in four ways, all on the same weights."""
    ours = bench_report.of_engine(models.in_engine(peer), capacity=0, plain=True)
    weights = sum(weight.nbytes for weight in peer.parameters())
    theirs = torch_instruments()

    def attending(attention: str, make: Callable[[], Any]) -> Callable[[], Any]:
        def made() -> Any:
            peer.set_attn_implementation(attention)
            return make()

        return made

    return ours, [
        Contender(OURS, lambda: ours.go_on, our_instruments(weights), cache_share=1.0),
        Contender(SDPA, attending("sdpa", lambda: generated(peer)), theirs, whole=True),
        Contender(EAGER, attending("eager", lambda: generated(peer)), theirs, whole=True),
        Contender(
            STATIC,
            attending("sdpa", lambda: generated(peer, cache_implementation="static")),
            theirs,
            whole=True,
            compiled=True,
        ),
        Contender(LOOP, attending("sdpa", lambda: compiled_loop(peer)), theirs, compiled=True),
    ]


def our_instruments(weights: int) -> Instruments:
    """As the engine's own; the weights are in torch's memory, and counted all the same."""
    own = benchmark.instruments()
    return Instruments(own.clock, own.synchronize, own.reset_peak, lambda: weights + (own.peak_bytes() or 0))


def torch_instruments() -> Instruments:
    """What torch took from the GPU, as CuPy's pool counts for the engine."""
    import torch

    def reset_peak() -> None:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    return Instruments(time.perf_counter, torch.cuda.synchronize, reset_peak, torch.cuda.max_memory_reserved)


def prepare(peer: Any) -> None:
    """A text ends after as many tokens as were asked for, whatever they are."""
    peer.generation_config.eos_token_id = None
    peer.generation_config.pad_token_id = 0


def generated(peer: Any, **options: Any) -> Answer:
    """Transformers' own `generate`."""
    import torch

    def answer(ids: Sequence[int], tokens: int) -> list[int]:
        given = torch.tensor([list(ids)], device=peer.device)
        out = peer.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=tokens, do_sample=False, **options
        )
        return [int(token) for token in out[0, len(ids) :].tolist()]

    return answer


def compiled_loop(peer: Any) -> Continue:
    """A decode step compiled with CUDA graphs over a static cache, the likeliest token, and nothing else."""
    from benchmarks.peers.hugging_face import Loop

    return Loop(peer.requires_grad_(False), "reduce-overhead").go_on


def tidy() -> None:
    """Give back what the last contender took, compiled graphs too."""
    import torch

    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
