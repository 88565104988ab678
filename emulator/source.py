"""CUDA C++ text to C++ text: what a host compiler cannot take is rewritten in place, line for line.

Rewritten: `extern __shared__` arrays (one buffer under many names), `#pragma unroll`, `__noinline__`, `#include "…"` of
files beside the source (put in where they stand, so that they are rewritten too) and, for the checker, `__shared__`
declarations. Everything else is left to the headers in `runtime/include`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import EmulatorError


@dataclass(frozen=True)
class Kernel:
    """A `__global__` function as its source declares it."""

    name: str
    parameters: tuple[str, ...]
    extern_c: bool


@dataclass(frozen=True)
class Translation:
    """A source that a host compiler can take, and what was seen in it."""

    text: str
    kernels: dict[str, Kernel]
    files: dict[str, list[str]]  # source lines, to show them in messages
    static_shared: list[str]
    dynamic_shared: list[str]


def blank(text: str) -> str:
    """The text with comments and the inside of literals replaced by spaces; every line keeps its place."""

    def spaces(match: re.Match[str]) -> str:
        token = match[0]
        if token in ('"C"', '"C++"'):
            return token
        return re.sub(r"[^\n]", " ", token)

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', spaces, text, flags=re.DOTALL)


def inline_includes(
    text: str, name: str, folders: Sequence[Path], files: dict[str, list[str]], _seen: set[Path] | None = None
) -> str:
    """The text with every `#include` found in `folders` replaced by that file's text.

    The compiler then needs no folders, and the same text compiled from another place is the same build.
    """
    seen = set() if _seen is None else _seen
    files[name] = text.splitlines()
    out = []
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
        found = next((f for d in folders if match and (f := d / match[1]).is_file()), None)
        if match is None or found is None:
            out.append(line)
            continue
        found = found.resolve()
        if found in seen:
            out.append("")
            continue
        content = found.read_text()
        if re.search(r"^\s*#\s*pragma\s+once\b", content, re.MULTILINE):
            seen.add(found)
            content = re.sub(r"^\s*#\s*pragma\s+once\b.*$", "", content, flags=re.MULTILINE)
        inner = inline_includes(content, match[1], [found.parent, *folders], files, seen)
        out.append(f'#line 1 "{match[1]}"\n{inner}\n#line {number + 1} "{name}"')
    return "\n".join(out)


def split_top_level(text: str, separator: str = ",") -> list[str]:
    """Split at separators that stand outside all brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "([{<":
            depth += 1
        elif c in ")]}>":
            depth -= 1
        elif c == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def find_kernels(bare: str) -> dict[str, Kernel]:
    """Every `__global__` function that is spelled out in the (blanked) text; one made by a macro is not seen."""
    kernels = {}
    # Bodies go first, so that `extern "C"` before a kernel belongs to that kernel.
    pattern = r"__global__((?:\s|\w|\((?:[^()]|\([^()]*\))*\))*?)\b(\w+)\s*\(((?:[^()]|\([^()]*\))*)\)\s*(?=[{;])"
    c_blocks = [(m.end(), _closing_brace(bare, m.end())) for m in re.finditer(r'extern\s*"C"\s*\{', bare)]
    for match in re.finditer(pattern, bare):
        before = re.split(r"[;{}]", bare[: match.start()])[-1]
        if re.search(r"\btemplate\s*<", before):
            continue  # callable through `name_expressions` only
        extern_c = bool(re.search(r'extern\s*"C"', before)) or any(a <= match.start() < b for a, b in c_blocks)
        names = []
        for parameter in split_top_level(match[3]):
            name = re.search(r"(\w+)\s*(?:\[[^\]]*\]\s*)?(?:=[^,]*)?$", parameter.strip())
            if name and parameter.strip() != "void":
                names.append(name[1])
        kernels[match[2]] = Kernel(match[2], tuple(names), extern_c)
    return kernels


def _closing_brace(bare: str, start: int) -> int:
    depth = 1
    for i in range(start, len(bare)):
        depth += (bare[i] == "{") - (bare[i] == "}")
        if depth == 0:
            return i
    return len(bare)


def _replace_in_code(pattern: str, replacement: str, text: str) -> str:
    """`re.sub` on code only: a match inside a comment or a literal stays."""
    bare = blank(text)
    out, last = [], 0
    for match in re.finditer(pattern, bare):
        out += [text[last : match.start()], match.expand(replacement)]
        last = match.end()
    return "".join([*out, text[last:]])


def translate(
    code: str,
    name: str = "kernel.cu",
    folders: Sequence[Path] = (),
    expressions: Sequence[str] = (),
    extra_kernels: Sequence[str] = (),
    *,
    checked: bool = False,
) -> Translation:
    """Rewrite a CUDA source for a host compiler.

    Args:
        code: the source text.
        name: what messages call it.
        folders: where `#include "…"` looks.
        expressions: instantiations to make callable, such as `scale<float>` (CuPy's `name_expressions`).
        extra_kernels: names to make callable although no `__global__` function is spelled out for them.
        checked: give each shared array red zones and a name that the checker knows.

    Raises:
        EmulatorError: the source has something that can never run here, such as textures.
    """
    files: dict[str, list[str]] = {}
    text = inline_includes(code, name, folders, files)
    bare = blank(text)
    if re.search(r"\btexture\s*<|\bcudaTextureObject_t\b|__cluster_dims__", bare):
        raise EmulatorError(f"{name}: textures and thread block clusters are not emulated")
    # A kernel inside a macro's definition has no name yet.
    kernels = find_kernels(re.sub(r"^[ \t]*#[ \t]*define(?:\\\n|[^\n])*", "", bare, flags=re.MULTILINE))
    dynamic = sorted(set(re.findall(r"extern\s+__shared__\s+[^;]*?(\w+)\s*\[\s*\]\s*;", bare)))
    globals_ = sorted(
        set(
            re.findall(
                r"^[ \t]*(?:static\s+)?__(?:constant|device)__\s+[^(){};]*?(\w+)\s*(?:\[[^;]*\])?\s*(?:=[^;]*)?;",
                bare,
                re.MULTILINE,
            )
        )
    )

    static: list[str] = []
    if checked:
        text, static = _name_shared_arrays(text)
    text = _replace_in_code(
        r"extern(\s+)__shared__(\s+[^;]*?\w+\s*\[\s*\])\s*;",
        r'extern\1EMU_SHARED_STORAGE\2 __asm__("emu_dynamic_shared");',
        text,
    )
    text = _replace_in_code(r"#[ \t]*pragma[ \t]+unroll[ \t]*\(?[ \t]*(\w+)[ \t]*\)?", r"#pragma GCC unroll \1", text)
    text = _replace_in_code(r"#[ \t]*pragma[ \t]+unroll[ \t]*(?=\n)", r"#pragma GCC unroll 32", text)
    text = _replace_in_code(r"\b__noinline__\b", r"__attribute__((noinline))", text)

    tail = ['#line 1 "<emulator>"']
    tail += [f"EMU_KERNEL({kernel}, {kernel})" for kernel in [*kernels, *extra_kernels]]
    tail += [f"EMU_KERNEL({expression_symbol(i)}, ({e}))" for i, e in enumerate(expressions)]
    tail += [f"EMU_GLOBAL({g})" for g in globals_]
    if checked:
        tail.append('extern "C" EMU_API void emu_module() {}  // an address in this library')
    if dynamic:
        tail.append(
            'extern "C" { alignas(1024) EMU_SHARED_STORAGE char emu_dynamic_storage[EMU_DYNAMIC_SHARED_BYTES + 1024]'
            ' __asm__("emu_dynamic_shared"); EMU_API void* emu_dynamic_address() { return emu_dynamic_storage; } }'
        )
    text = f'#line 1 "{name}"\n{text}\n' + "\n".join(tail) + "\n"
    return Translation(text, kernels, files, static, dynamic)


def _name_shared_arrays(text: str) -> tuple[str, list[str]]:
    """Static shared arrays as runtime/include/emu/checked.h describes them, each on its own lines; and their names."""
    bare = blank(text)
    out, names, last = [], [], 0
    pattern = r"((?:\b(?:volatile|static|alignas\s*\([^()]*\)|__align__\s*\([^()]*\))\s+)*)\b__shared__\s+([^;{}=]*);"
    for number, match in enumerate(re.finditer(pattern, bare)):
        if re.search(r"extern\s+$", bare[: match.start()]):
            continue
        declaration = text[match.start(2) : match.end(2)]
        declarators = split_top_level(declaration)
        first = re.match(r"(.*?)(\b\w+\s*(?:\[[^;]*)?)$", declarators[0], re.DOTALL)
        if first is None:
            continue
        kind = match[1].replace("static", "") + first[1]
        at_file_scope = _at_file_scope(bare, match.start())
        made = []
        for i, declarator in enumerate([first[2], *declarators[1:]]):
            name = re.match(r"\s*(\w+)", declarator)
            if name is None:
                break
            names.append(name[1])
            tag = f"{number}_{i}"
            made.append(
                f"struct emu_shared_type_{tag} {{ char before[256]; {kind} {declarator.strip()}; char after[256]; }};"
                f" alignas(256) static emu_shared_type_{tag} emu_shared_{tag};"
                f" static auto& {name[1]} = emu_shared_{tag}.{name[1]};"
            )
            enter = f'emu::enter_shared({name[1]}, "{name[1]}");'
            made.append(f"static int emu_shared_known_{tag} = {enter}" if at_file_scope else enter)
        out += [text[last : match.start()], " ".join(made)]
        last = match.end()
    return "".join([*out, text[last:]]), names


def _at_file_scope(bare: str, position: int) -> bool:
    """Whether every brace that is open there belongs to a namespace or to extern "C"."""
    depth = 0
    for i in range(position - 1, -1, -1):
        if bare[i] == "}":
            depth += 1
        elif bare[i] == "{":
            if depth == 0 and not re.search(r'(?:namespace[\s\w:]*|extern\s*"C"\s*)$', bare[:i]):
                return False
            depth = max(0, depth - 1)
    return True


def expression_symbol(index: int) -> str:
    """The name under which the instantiation with that index is exported."""
    return f"expression_{index}"
