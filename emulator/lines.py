"""From an address in a compiled kernel to the line of its source, through the debug information."""

from __future__ import annotations

import bisect
import functools
from pathlib import Path

from elftools.elf.elffile import ELFFile


class LineTable:
    """The lines of one shared library."""

    def __init__(self, library: Path) -> None:
        with library.open("rb") as handle:
            elf = ELFFile(handle)
            self._rows: list[tuple[int, str, int]] = []
            self._inlined: list[tuple[int, int, str, int]] = []  # low, high, file and line of the call
            if elf.has_dwarf_info():
                dwarf = elf.get_dwarf_info()
                for unit in dwarf.iter_CUs():
                    self._read_unit(dwarf, unit)
        self._rows.sort()
        self._addresses = [row[0] for row in self._rows]

    def _read_unit(self, dwarf: object, unit: object) -> None:
        program = dwarf.line_program_for_CU(unit)  # type: ignore[attr-defined]
        if program is None:
            return
        version5 = program.header["version"] >= 5
        names = [entry.name.decode() for entry in program.header["file_entry"]]

        def file_name(index: int) -> str:
            index -= 0 if version5 else 1
            return names[index] if 0 <= index < len(names) else ""

        for entry in program.get_entries():
            state = entry.state
            if state is not None:
                line = 0 if state.end_sequence else state.line
                self._rows.append((state.address, file_name(state.file), line))
        for die in unit.iter_DIEs():  # type: ignore[attr-defined]
            if die.tag != "DW_TAG_inlined_subroutine" or "DW_AT_call_line" not in die.attributes:
                continue
            call_file = file_name(die.attributes["DW_AT_call_file"].value)
            call_line = die.attributes["DW_AT_call_line"].value
            for low, high in self._ranges(dwarf, unit, die):
                self._inlined.append((low, high, call_file, call_line))

    @staticmethod
    def _ranges(dwarf: object, unit: object, die: object) -> list[tuple[int, int]]:
        attributes = die.attributes  # type: ignore[attr-defined]
        if "DW_AT_low_pc" in attributes and "DW_AT_high_pc" in attributes:
            low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
            return [(low, high.value if high.form == "DW_FORM_addr" else low + high.value)]
        if "DW_AT_ranges" not in attributes:
            return []
        base = unit.get_top_DIE().attributes.get("DW_AT_low_pc")  # type: ignore[attr-defined]
        offset = base.value if base else 0
        out = []
        lists = dwarf.range_lists()  # type: ignore[attr-defined]
        for entry in lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, cu=unit):
            if hasattr(entry, "begin_offset"):
                shift = 0 if getattr(entry, "is_absolute", False) else offset
                out.append((entry.begin_offset + shift, entry.end_offset + shift))
            else:
                offset = entry.base_address
        return out

    def frames(self, address: int) -> list[tuple[str, int]]:
        """File and line at an address of the library, innermost first, then each call that was inlined around it."""
        i = bisect.bisect_right(self._addresses, address) - 1
        frames = [(self._rows[i][1], self._rows[i][2])] if i >= 0 and self._rows[i][2] else []
        around = [(high - low, file, line) for low, high, file, line in self._inlined if low <= address < high]
        return frames + [(file, line) for _, file, line in sorted(around)]


@functools.lru_cache(maxsize=32)
def table(library: Path) -> LineTable:
    """The line table of a library, read once."""
    return LineTable(library)
