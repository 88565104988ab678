"""What can go wrong, from a missing compiler to a kernel that never ends."""

from __future__ import annotations

from dataclasses import dataclass, field


class EmulatorError(RuntimeError):
    """Everything that this package raises about a kernel derives from it."""


class NoCompilerError(EmulatorError):
    """No C++ compiler was found; the message says how to get one."""


@dataclass(frozen=True)
class Diagnostic:
    """One message of the compiler, at a line of the kernel's own source."""

    file: str
    line: int
    column: int
    severity: str
    message: str
    text: str = ""

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"
        return f"{head}\n    {self.text.strip()}" if self.text.strip() else head


class CompileError(EmulatorError):
    """The source does not compile.

    Attributes:
        diagnostics: the compiler's errors, first one first.
        log: all that the compiler printed.
    """

    def __init__(self, name: str, diagnostics: list[Diagnostic], log: str) -> None:
        self.diagnostics, self.log = diagnostics, log
        shown = [str(d) for d in diagnostics[:5]] or [log.strip()[-2000:]]
        if len(diagnostics) > 5:
            shown.append(f"… and {len(diagnostics) - 5} more")
        super().__init__(f"{name} does not compile\n" + "\n".join(shown))


class LaunchError(EmulatorError):
    """A launch that a GPU would refuse, or worse, misread: its shape, its shared memory or one of its arguments."""


@dataclass(frozen=True)
class Place:
    """Where in a kernel something happened; `line` is 0 where it is not known."""

    file: str = ""
    line: int = 0
    text: str = ""
    block: tuple[int, int, int] | None = None
    thread: tuple[int, int, int] | None = None
    callers: tuple[str, ...] = field(default=(), compare=False)  # file:line of each call that was inlined there

    def __str__(self) -> str:
        parts = [f"{self.file}:{self.line}" if self.line else "line not known"]
        if self.text.strip():
            parts.append(self.text.strip())
        if self.thread is not None:
            parts.append(f"thread {self.thread} of block {self.block}")
        return "   ".join(parts)


class KernelCrash(EmulatorError):  # noqa: N818  (named for what happened, as CuPy's and the DESIGN's names are)
    """The kernel faulted, trapped or got stuck; the process lives on, but its output arrays are not to be trusted.

    Attributes:
        kind: `memory-fault`, `arithmetic-fault`, `stack-overflow`, `illegal-instruction`, `trap`,
            `barrier-divergence`, `collective-divergence`, `deadlock` or `out-of-memory`.
        place: the line, block and thread.
    """

    def __init__(self, kernel: str, kind: str, message: str, place: Place) -> None:
        self.kernel, self.kind, self.place = kernel, kind, place
        super().__init__(f"{kernel}: {kind.replace('-', ' ')}: {message}\n    at {place}")

    @property
    def line(self) -> int:
        """Line of the source, 0 where it is not known."""
        return self.place.line

    @property
    def block(self) -> tuple[int, int, int] | None:
        """BlockIdx of the thread that failed."""
        return self.place.block

    @property
    def thread(self) -> tuple[int, int, int] | None:
        """ThreadIdx of the thread that failed."""
        return self.place.thread


class KernelTimeout(KernelCrash):
    """The kernel was still running at the time limit."""
