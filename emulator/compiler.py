"""The host compiler: which one, with which flags, and what its messages mean for the kernel's author."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator import cache
from emulator.errors import CompileError, Diagnostic, EmulatorError, NoCompilerError

RUNTIME = Path(__file__).with_name("runtime")
INCLUDE = RUNTIME / "include"

NVRTC_ONLY = re.compile(
    r"--?(arch|gpu-architecture|std|use_fast_math|lineinfo|generate-line-info|G|device-debug|fmad|maxrregcount|ftz"
    r"|prec-div|prec-sqrt|extra-device-vectorization|restrict|w|disable-warnings|default-device|device-as-default.*"
    r"|extensible-whole-program|dlto|diag-.*|split-compile|minimal|time|ptxas-options|Xptxas)\b.*"
)


@dataclass(frozen=True)
class Compiler:
    """A C++17 compiler that makes shared libraries."""

    command: tuple[str, ...]
    family: str  # gcc or clang

    def identity(self) -> str:
        """Changes when the compiler does: its path, size and time, which cost no process to find out."""
        program = shutil.which(self.command[0]) or self.command[0]
        status = Path(program).resolve().stat()
        extra = _zig_version() if "ziglang" in self.command else ""
        return f"{self.command} {program} {status.st_size} {status.st_mtime_ns} {extra} {_cpu()}"


def _zig_version() -> str:
    from importlib.metadata import version

    return version("ziglang")


@functools.cache
def _cpu() -> str:
    """The CPU's instruction sets: code made with -march=native runs on this kind only."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", info, re.MULTILINE)
    return platform.machine() + " " + (cache.key(found[1]) if found else "")


def find() -> Compiler:
    """The compiler in `EMULATOR_CXX`, else g++, clang++ or the one in the `ziglang` package.

    Raises:
        NoCompilerError: there is none.
    """
    return _find(os.environ.get("EMULATOR_CXX", ""), os.environ.get("PATH", ""))


@functools.cache
def _find(wanted: str, _path: str) -> Compiler:
    if wanted:
        command = tuple(shlex.split(wanted))
        if shutil.which(command[0]) is None:
            raise NoCompilerError(f"EMULATOR_CXX names {command[0]!r}, which is not a program that can be run")
        return Compiler(command, "clang" if re.search(r"clang|zig", wanted) else "gcc")
    for program, family in (("g++", "gcc"), ("clang++", "clang")):
        if shutil.which(program):
            return Compiler((program,), family)
    if importlib.util.find_spec("ziglang"):
        return Compiler((sys.executable, "-m", "ziglang", "c++"), "clang")
    raise NoCompilerError(
        "no C++ compiler was found, and the emulator needs one to run CUDA on the CPU.\n"
        "Install g++ (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++) or clang, or without any\n"
        "rights on this machine: pip install ziglang. A compiler elsewhere is named with EMULATOR_CXX."
    )


def flags(compiler: Compiler) -> list[str]:
    """Flags that every build has."""
    common = [
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-fvisibility=hidden",
        "-w",
        "-fno-strict-aliasing",
        "-pthread",
    ]
    if platform.machine() in ("x86_64", "AMD64"):
        # Fibers are switched in the middle of a function: nothing may lie below the stack pointer.
        common += ["-mno-red-zone", "-fcf-protection=none"]
    if compiler.family == "gcc":
        common += ["-fno-gnu-unique"]
    if os.environ.get("EMULATOR_PORTABLE") == "1":  # fibers without assembly, as on other processors
        common += ["-DEMU_PORTABLE"]
    if "ziglang" in compiler.command:
        common += ["-fno-sanitize=undefined"]
    return common


def kernel_flags(compiler: Compiler) -> list[str]:
    """Flags for a kernel at full speed: floating point as a GPU has it by default, with fused multiply-adds."""
    native = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    return [
        *flags(compiler),
        "-O3",
        native,
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=fast",
        "-fno-plt",
        "-g1",
    ]


def checked_kernel_flags(compiler: Compiler) -> list[str]:
    """Flags for a kernel whose every access calls the checker (runtime/src/check_access.cpp).

    GCC is the reference. `-fno-tree-sra` keeps a 16-byte vector load one access; clang takes it apart, so there the
    counts are of narrower accesses, and alignment is left to its own sanitizer.
    """
    sanitizers = {
        "gcc": [
            "-fno-tree-sra", "-fsanitize=bounds-strict", "--param=tsan-instrument-func-entry-exit=0",
            "--param=tsan-distinguish-volatile=1",
        ],
        "clang": [
            "-fsanitize=array-bounds,alignment", "-mllvm", "-tsan-instrument-func-entry-exit=0",
            "-mllvm", "-tsan-instrument-read-before-write=1", "-mllvm", "-tsan-distinguish-volatile=1",
        ],
    }  # fmt: skip
    fast = [f for f in kernel_flags(compiler) if f not in ("-O3", "-shared")]
    return [*fast, "-O1", "-DEMU_CHECK", "-fsanitize=thread", *sanitizers[compiler.family]]


def defines_and_folders(options: Sequence[str], name: str) -> tuple[list[str], list[Path]]:
    """What of NVRTC's options means something here: -D, -U and -I.

    Raises:
        EmulatorError: an option is neither known to be NVRTC's alone nor one of these.
    """
    defines, folders = [], []
    pending = ""
    for option in options:
        if pending:
            option, pending = pending + option, ""
        if option in ("-D", "-U", "-I", "--define-macro", "--include-path"):
            pending = {"--define-macro": "-D", "--include-path": "-I"}.get(option, option)
        elif option.startswith(("-D", "-U")):
            defines.append(option)
        elif option.startswith("--define-macro="):
            defines.append("-D" + option.partition("=")[2])
        elif option.startswith("-I"):
            folders.append(Path(option[2:]))
        elif option.startswith("--include-path="):
            folders.append(Path(option.partition("=")[2]))
        elif not NVRTC_ONLY.fullmatch(option):
            raise EmulatorError(
                f"{name}: compiler option {option!r} is not known here (-D, -U, -I and NVRTC's own are)"
            )
    return defines, folders


@functools.cache
def header_key() -> str:
    """Changes with any of the headers that a kernel can see."""
    files = sorted(INCLUDE.rglob("*.h"))
    return cache.key(*(f.read_text() for f in files))


def compile_library(compiler: Compiler, source: Path, out: Path, arguments: Sequence[str]) -> str | None:
    """Run the compiler; None when it succeeded, else all that it printed."""
    command = [*compiler.command, *arguments, str(source), "-o", str(out)]
    environment = {**os.environ, "LC_ALL": "C"}
    if "ziglang" in compiler.command:
        environment.setdefault("ZIG_GLOBAL_CACHE_DIR", str(cache.folder() / "zig"))
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    except OSError as error:
        raise NoCompilerError(f"the compiler {compiler.command[0]!r} cannot be run: {error.strerror}") from error
    if done.returncode == 0:
        return None
    if "No space left on device" in done.stderr:
        raise EmulatorError(f"no space is left for a compiled kernel in {cache.folder()}")
    if done.returncode < 0 or not done.stderr.strip():
        raise EmulatorError(
            f"the compiler ended with status {done.returncode}: {shlex.join(command)}\n{done.stderr[-2000:]}"
        )
    return done.stderr


def compile_checked_library(compiler: Compiler, source: Path, out: Path, arguments: Sequence[str]) -> str | None:
    """Like `compile_library` in two steps, so that the sanitizers' own libraries are not linked."""
    compiled = out.with_suffix(".o")
    return compile_library(compiler, source, compiled, ["-c", *arguments]) or compile_library(
        compiler, compiled, out, flags(compiler)
    )


def explain(log: str, name: str, files: dict[str, list[str]]) -> CompileError:
    """The compiler's output as diagnostics at the kernel's own lines."""
    diagnostics = []
    user_place: tuple[str, int, int] | None = None
    for line in log.splitlines():
        # "required from here" and "in expansion of macro" lead from our headers back to the kernel.
        context = re.match(r"(.+?):(\d+):(\d+):\s+(?:required from|note:|in )", line)
        if context and context[1] in files:
            user_place = (context[1], int(context[2]), int(context[3]))
        match = re.match(r"(.+?):(\d+):(?:(\d+):)? (fatal error|error): (.*)", line)
        if not match:
            continue
        file, number, column = match[1], int(match[2]), int(match[3] or 0)
        if file not in files and user_place is not None:
            file, number, column = user_place
        text = files[file][number - 1] if file in files and number <= len(files[file]) else ""
        diagnostics.append(
            Diagnostic(file, number, column, "error", match[5].replace("‘", "`").replace("’", "`"), text)
        )
        user_place = None
    own = [d for d in diagnostics if d.file in files] or _broken_off(log, name, files)
    return CompileError(name, own or diagnostics, log)


def _broken_off(log: str, name: str, files: dict[str, list[str]]) -> list[Diagnostic]:
    """What a source lacks that ends too early: compilers notice it only in the lines put behind it."""
    if not re.search(r"^<emulator>:", log, re.MULTILINE) or not re.search(r"error: expected ", log):
        return []
    for match in re.finditer(r"^(.+?):(\d+):(\d+): note: to match this", log, re.MULTILINE):
        if match[1] in files:
            number, column = int(match[2]), int(match[3])
            text = files[match[1]][number - 1]
            return [Diagnostic(match[1], number, column, "error", f"this `{text[column - 1]}` is never closed", text)]
    lines = files[name]
    number = max((i for i, line in enumerate(lines, 1) if line.strip()), default=0)
    message = "the file ends too early: a semicolon or a brace is missing"
    return [Diagnostic(name, number, 0, "error", message, lines[number - 1] if number else "")]
