"""Python values as kernel arguments: every mismatch that a GPU would silently misread is refused by name."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.errors import LaunchError

_KINDS = {"f": "floating-point", "i": "integer", "b": "bool", "s": "struct"}


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter: a value, or a pointer to elements of that kind and size."""

    name: str
    pointer: bool
    constant: bool  # a pointer to const: the kernel promises not to write
    kind: str  # f, i, b, s or v, as in runtime/include/emu/entry.h
    size: int  # bytes of the value, or of one element

    def __str__(self) -> str:
        kind = "void" if self.kind == "v" else f"{self.size}-byte {_KINDS.get(self.kind, 'pointer')}"
        return f"a pointer to {'const ' if self.constant else ''}{kind}" if self.pointer else f"a {kind}"


def parse_signature(text: str, names: Sequence[str]) -> tuple[Parameter, ...]:
    """The text that `emu::describe` writes, such as `rf4,pf4,i4,`, with the names from the source."""
    out = []
    for i, part in enumerate(filter(None, text.split(","))):
        match = re.fullmatch(r"([pr]*)([fibsv])(\d+)", part)
        assert match, part
        name = names[i] if i < len(names) else ""
        out.append(Parameter(name, bool(match[1]), match[1] == "r", match[2], int(match[3])))
    return tuple(out)


class Packer:
    """Turns a sequence of arguments into the array of addresses that a kernel's entry point reads."""

    def __init__(self, kernel: str, parameters: Sequence[Parameter]) -> None:
        self.kernel, self.parameters = kernel, parameters
        offsets, total = [], 0
        for p in parameters:
            offsets.append(total)
            total += 8 if p.pointer else -(-p.size // 16) * 16
        self._store = (ctypes.c_char * (total + 16))()
        base = -(-ctypes.addressof(self._store) // 16) * 16
        self._places = [base + offset for offset in offsets]
        self._table = (ctypes.c_void_p * max(1, len(parameters)))(*self._places)
        self._address = ctypes.addressof(self._table)

    def pack(self, args: Sequence[Any]) -> int:
        """Write the values; the address of the table.

        Raises:
            LaunchError: wrong number, type or layout.
        """
        if len(args) != len(self.parameters):
            names = ", ".join(p.name or "?" for p in self.parameters)
            raise LaunchError(f"{self.kernel} takes {len(self.parameters)} arguments ({names}), {len(args)} given")
        for i, (value, parameter, place) in enumerate(zip(args, self.parameters, self._places, strict=True)):
            if parameter.pointer:
                ctypes.c_uint64.from_address(place).value = self._pointer(i, value, parameter)
            else:
                self._scalar(i, value, parameter, place)
        return self._address

    def pack_addresses(self, args: Sequence[Any]) -> int:
        """Like `pack`, where an argument may be an address already: whatever has an `address`."""
        for i, (value, parameter, place) in enumerate(zip(args, self.parameters, self._places, strict=True)):
            if parameter.pointer:
                ctypes.c_uint64.from_address(place).value = getattr(value, "address", 0)
            else:
                self._scalar(i, value, parameter, place)
        return self._address

    def _what(self, i: int, parameter: Parameter) -> str:
        return f"{self.kernel}: argument {i}" + (f" (`{parameter.name}`)" if parameter.name else "")

    def _pointer(self, i: int, value: Any, parameter: Parameter) -> int:
        if value is None:
            return 0
        if not isinstance(value, np.ndarray):
            raise LaunchError(
                f"{self._what(i, parameter)} is {parameter}: expected a NumPy array, got {type(value).__name__}"
            )
        if not value.flags.c_contiguous:
            raise LaunchError(
                f"{self._what(i, parameter)} is not C-contiguous (shape {value.shape}, strides {value.strides} bytes):"
                " pass np.ascontiguousarray(…)"
            )
        if not fits(value.dtype, parameter):
            raise LaunchError(f"{self._what(i, parameter)} is {parameter}: got an array of {value.dtype}")
        if not value.flags.writeable and not parameter.constant:
            raise LaunchError(f"{self._what(i, parameter)} is {parameter}, and the array given is read-only")
        address: int = value.__array_interface__["data"][0]
        return address

    def _scalar(self, i: int, value: Any, parameter: Parameter, place: int) -> None:
        scalar = np.asarray(value)  # a Python int is 64 bits wide and a float 64, as in CuPy
        right_kind = {"f": "f", "i": "iu", "b": "b", "s": "Vf"}.get(parameter.kind, "")
        if scalar.ndim or scalar.nbytes != parameter.size or scalar.dtype.kind not in right_kind:
            given = (
                f"a Python {type(value).__name__}"
                if type(value) in (int, float, bool)
                else f"{scalar.dtype} of shape {scalar.shape}"
            )
            wrap = {"f": "np.float", "i": "np.int"}.get(parameter.kind)
            advice = f"; wrap it: {wrap}{8 * parameter.size}(…)" if wrap else ""
            raise LaunchError(f"{self._what(i, parameter)} is {parameter}: got {given}{advice}")
        ctypes.memmove(place, scalar.__array_interface__["data"][0], parameter.size)


def fits(dtype: np.dtype, parameter: Parameter) -> bool:
    """Whether elements of that dtype may be read through the pointer."""
    size, kind = dtype.itemsize, dtype.kind
    if parameter.kind == "v" or (parameter.kind == "i" and parameter.size == 1):
        return True  # void* and char* may point to anything
    if parameter.kind == "s":  # __half, float4, the kernel's own structs
        return parameter.size % size == 0 or size % parameter.size == 0
    if size != parameter.size:
        return False
    return kind == "V" or {"f": kind == "f", "i": kind in "iu", "b": kind in "biu"}[parameter.kind]
