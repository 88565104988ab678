"""The tables of whole engines side by side: all figures of a run, and what was asked for beside what is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import slug

Rendered = tuple[list[str], list[list[str]], str]
Record = Mapping[str, Any]
BAR = Path(__file__).with_name("peers") / "bar.json"
NOT_RUN, FAILED = "NOT RUN", "FAILED"
KINDS = {"bfloat16": "16 bits", "bf16": "16 bits", "int8": "8 bits", "q8_0": "8 bits"}  # peers compete within a kind


def of_record(name: str) -> Callable[[dict[str, Any]], Rendered]:
    """What renders the table of all engines, from the record of that name."""

    def render(records: dict[str, Any]) -> Rendered:
        head, rows, words = engines(records[name])
        record = records[name]
        machine = record["machine"]["gpu"]
        shown = f"![{record['model']} on {machine}, engine by engine](../../docs/{picture(slug(machine), name)})"
        return head, rows, f"{words}\n\n{shown}"

    return render


def picture(machine: str, record: str) -> str:
    """The file in docs/ that shows a record, by the names of its folder and of its file."""
    return f"{record}-{machine}.svg"


def engines(record: Record) -> Rendered:
    """Every engine with its figures."""
    plan = record["plan"]
    lengths, batches = sorted(plan["ttft"]), sorted(texts for texts in plan["batches"] if texts > 1)
    head = ["engine", "weights", "tokens/s", "of read bandwidth", *(f"first token of {n:,}, ms" for n in lengths)]
    head += [*(f"{n} texts, tokens/s" for n in batches), "error of logits", "float32's tokens"]
    rows = []
    for peer in record["peers"]:
        decode = one_of(peer, "decode")
        cells = [peer["label"], peer["weights"], cell(peer, "decode", decode, speed), share(record, peer, decode)]
        cells += [cell(peer, "first", one_of(peer, "first", prompt_tokens=n), milliseconds) for n in lengths]
        cells += [cell(peer, "batches", one_of(peer, "batches", texts=n), speed) for n in batches]
        rows.append([*cells, *agreement(peer.get("check"))])
    return head, rows, note(record)


def one_of(peer: Record, section: str, **where: Any) -> Record | None:
    """A figure of a peer: of several, the one of that length or number."""
    found = peer.get(section)
    if isinstance(found, list):
        return next((one for one in found if where.items() <= one.items()), None)
    return found


def cell(peer: Record, section: str, found: Record | None, render: Callable[[Record], str]) -> str:
    """A figure, or that there is none; empty where nobody asked for it."""
    if section not in peer["measured"]:
        return ""
    whole = found if found is not None else peer
    if "failed" in whole:
        return FAILED
    return NOT_RUN if found is None or "not_run" in found else render(found)


def speed(found: Record) -> str:
    """Tokens a second, ± half the interquartile range."""
    if found["tokens_per_s"] is None:
        return NOT_RUN
    token = found["token"]
    half = 50 * (token["quartile3_s"] - token["quartile1_s"]) / token["median_s"]
    return f"{found['tokens_per_s']:,.0f} ± {half:.1f} %" + ("" if found.get("steady", True) else " *")


def milliseconds(found: Record) -> str:
    """Time to the first token, ± half the interquartile range."""
    first = found["first"]
    return f"{1e3 * first['median_s']:.2f} ± {500 * (first['quartile3_s'] - first['quartile1_s']):.2f}"


def share(record: Record, peer: Record, decode: Record | None) -> str:
    """Of the read bandwidth, in reading the weights once a token; where their size is known."""
    size = peer.get("about", {}).get("weight_bytes")
    if not size or not decode or not decode.get("tokens_per_s") or "read" not in record:
        return ""
    return f"{100 * size * decode['tokens_per_s'] / record['read']['bytes_per_s']:.0f} %"


def agreement(check: Record | None) -> list[str]:
    """How far the logits are off, and how many tokens are float32's."""
    if check is None:
        return ["", ""]
    if "equal" not in check:
        return ["", FAILED if "failed" in check else NOT_RUN]
    ties = f" + {check['ties']} ties" if check["ties"] else ""
    return [f"{check['error']:.1e}" if "error" in check else "", f"{check['equal']:,}{ties} of {check['tokens']:,}"]


def note(record: Record) -> str:
    """What the figures mean, and why some are missing."""
    plan, machine = record["plan"], record["machine"]["gpu"]
    words = [
        f"{record['model']}. Medians, ± half the interquartile range (* not known to 1 %), of {plan['tokens']} tokens after a "
        f"prompt of {plan['prompt']}, from each engine's own calls, in one run.",
    ]
    if "read" in record:
        words.append(f"The read bandwidth, measured in it: {record['read']['bytes_per_s'] / 1e12:.2f} TB/s.")
    words.append(
        "Error of logits: relative, beside Transformers in float32 on the same weights (int8: on those that the numbers and "
        "scales stand for). Float32's tokens: those that it would have chosen, given the same text so far; ties are decided "
        "by rounding."
    )
    states = [state for peer in record["peers"] for state in states_of(peer)]
    if states:
        clocks = sorted(int(state["clocks.sm"]) for state in states)
        warmest = max(int(state["temperature.gpu"]) for state in states)
        words.append(
            f"Clock of the {machine} between the figures: {clocks[0]:,} to {clocks[-1]:,} MHz, at {warmest} °C at most."
        )
    words += [
        f"{peer['label'].strip('*')}, {peer['weights']}: {why}." for peer in record["peers"] for why in missing(peer)
    ]
    return " ".join(words)


def states_of(peer: Record) -> Iterator[Record]:
    """The GPU's state before and after each figure, where it is known."""
    for found in [peer.get("decode") or {}, *peer.get("first", []), *peer.get("batches", [])]:
        for state in (found.get("gpu_before"), found.get("gpu_after")):
            if state and state["clocks.sm"].isdigit() and state["temperature.gpu"].isdigit():
                yield state


def missing(peer: Record) -> list[str]:
    """Why figures of a peer are missing."""
    found = [
        peer,
        *(peer.get(name) or {} for name in ("decode", "check")),
        *peer.get("first", []),
        *peer.get("batches", []),
    ]
    whys = [f"{FAILED}, {one['failed']}" for one in found if "failed" in one]
    whys += [f"{NOT_RUN}, {one['not_run']}" for one in found if "not_run" in one]
    return list(dict.fromkeys(whys))


# ---- what was asked for ------------------------------------------------------------------------------------------------


def bar(records: dict[str, Any]) -> Rendered:
    """Each figure of the bar: required, aimed at, reached, and the best of the others."""
    data = json.loads(BAR.read_text())
    rows = []
    for row in data["rows"]:
        record, at_most = records.get(row["record"], {"peers": []}), row["key"] in data["at_most"]
        best, who = best_peer(record["peers"], row, at_most)
        got = next((value_of(peer, row) for peer in record["peers"] if peer["name"] == row["peer"]), None)
        rows.append([
            row["figure"], number(row["required"]), number(row.get("aim")), NOT_RUN if got is None else number(got),
            reached(got, row, at_most), "" if best is None else f"{number(best)}, {who}",
        ])  # fmt: skip
    head = ["figure", "required", "aim", "this engine", "reached", "best of the others in this run"]
    return head, rows, "The best of the others is the best with weights of as many bits."


def value_of(peer: Record, row: Record) -> float | None:
    """A peer's figure that a row of the bar is about."""
    found = one_of(peer, row["section"], **row.get("where", {}))
    if found is None or "failed" in found or "not_run" in found:
        return None
    if row["key"] == "first_ms":
        return 1e3 * float(found["first"]["median_s"])
    value = found.get(row["key"])
    return None if value is None else float(value)


def best_peer(peers: Sequence[Record], row: Record, at_most: bool) -> tuple[float | None, str]:
    """The best figure of those that are not ours, and whose it is."""
    if row["section"] == "check":
        return None, ""
    kind = next((KINDS[peer["weights"]] for peer in peers if peer["name"] == row["peer"]), "")
    known = [
        (value, peer["label"])
        for peer in peers
        if not peer["name"].startswith("ours") and KINDS[peer["weights"]] == kind
        and (value := value_of(peer, row)) is not None
    ]  # fmt: skip
    return (min if at_most else max)(known, default=(None, ""))


def reached(got: float | None, row: Record, at_most: bool) -> str:
    """Which of the two is reached."""
    if got is None:
        return ""
    for name in ("aim", "required"):
        if name in row and (got <= row[name] if at_most else got >= row[name]):
            return name
    return "no"


def number(value: float | None) -> str:
    """Three digits or all of a larger one."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
