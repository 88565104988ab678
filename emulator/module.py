"""`RawModule` and `RawKernel`: CuPy's calling convention, with NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emulator import arguments, cache, compiler, lines, source
from emulator import check as checker
from emulator.costs import Costs
from emulator.errors import EmulatorError, KernelCrash, KernelTimeout, LaunchError, Place
from emulator.launch import FAILURES, Failure, LaunchRequest, runtime, time_limit_s, worker_count

MAX_THREADS = 1024
MAX_BLOCK = (1024, 1024, 64)
MAX_GRID = (2**31 - 1, 65535, 65535)
DEFAULT_DYNAMIC_SHARED = 48 << 10  # what a block gets without asking
MAX_DYNAMIC_SHARED = 227 << 10  # the most on sm_90


class RawModule:
    """CUDA C++ source, compiled for the CPU at its first use.

    Args:
        code: the source text, or None with `path`.
        path: file to read it from; its folder is searched for `#include "…"`.
        options: NVRTC's options; -D, -U and -I are used, those that mean nothing here are passed over.
        enable_cooperative_groups: launches are cooperative: all blocks run at the same time and may `grid.sync()`.
        name_expressions: instantiations such as `scale<float>` that `get_function` may ask for.
        check: True, or `emulator.Checks(…)`: launches look at every access and raise `CheckError` on a fault.
        name: what messages call the source; the path's file name by default.
        backend: accepted for CuPy's sake.

    Raises:
        EmulatorError: neither or both of `code` and `path`, or an option that is not known.
    """

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        check: Any = False,
        name: str | None = None,
    ) -> None:
        if (code is None) == (path is None):
            raise EmulatorError("RawModule takes either `code`, a string, or `path`, a file")
        if path is not None:
            code = Path(path).read_text()
        assert code is not None
        self.name = name or (Path(path).name if path else "kernel.cu")
        self.checks = checker.Checks() if check is True else check or None
        self.cooperative = enable_cooperative_groups
        self.expressions = list(name_expressions or ())
        defines, folders = compiler.defines_and_folders(options, self.name)
        self._code, self._defines = code, defines
        self._folders = ([Path(path).resolve().parent] if path else []) + folders
        self._extra: list[str] = []
        self._translation = self._translate()
        self._library: ctypes.CDLL | None = None
        self.library_path: Path | None = None

    def _translate(self) -> source.Translation:
        return source.translate(
            self._code,
            self.name,
            self._folders,
            self.expressions,
            self._extra,
            checked=self.checks is not None,
        )

    def compile(self) -> None:
        """Compile and load now; `get_function` does so by itself.

        Raises:
            CompileError: the source does not compile.
            NoCompilerError: there is no compiler.
        """
        runtime()
        cxx = compiler.find()
        checked = self.checks is not None
        own = compiler.checked_kernel_flags(cxx) if checked else compiler.kernel_flags(cxx)
        flags = [*own, *self._defines, f"-I{compiler.INCLUDE}", "-include", "emu/cuda.h"]
        # What lies in the folder of headers counts, not where that is: a copy of the repository shares the cache.
        key = cache.key(cxx.identity(), own, self._defines, compiler.header_key(), self._translation.text)

        def build(out: Path) -> None:
            text = out.with_suffix(".cpp")
            text.write_text(self._translation.text)
            compile_ = compiler.compile_checked_library if checked else compiler.compile_library
            log = compile_(cxx, text, out, flags)
            if log is not None:
                raise compiler.explain(log, self.name, self._translation.files)

        self.library_path = cache.get(f"kernel-{key}.so", build)
        try:
            self._library = ctypes.CDLL(str(self.library_path))
        except OSError:  # broken on disk, by a full disk perhaps: build it once more
            cache.discard(self.library_path)
            self.library_path = cache.get(f"kernel-{key}.so", build)
            self._library = ctypes.CDLL(str(self.library_path))

    @property
    def library(self) -> ctypes.CDLL:
        """The compiled module."""
        if self._library is None:
            self.compile()
        assert self._library is not None
        return self._library

    def get_function(self, name: str) -> RawKernel:
        """The kernel of that name.

        Raises:
            EmulatorError: there is none, or a GPU would not find it under that name.
            CompileError, NoCompilerError: see `compile`.
        """
        if name in self.expressions:
            return RawKernel._of(self, name, source.expression_symbol(self.expressions.index(name)), ())
        kernel = self._translation.kernels.get(name)
        if kernel is None and name not in self._extra:
            self._add_kernel_of_a_macro(name)
        if kernel is not None and not kernel.extern_c:
            raise EmulatorError(
                f'{self.name}: declare it extern "C" __global__ void {name}(…): without that, C++ changes the name of'
                f" {name!r} in the compiled module and a GPU does not find it"
            )
        return RawKernel._of(self, name, name, kernel.parameters if kernel else ())

    def _add_kernel_of_a_macro(self, name: str) -> None:
        """A kernel that a macro spells out is seen by the compiler only: ask it."""
        if any(name in part for part in self._translation.text.split("#line")) and name.isidentifier():
            self._extra.append(name)
            before, self._translation, self._library = self._translation, self._translate(), None
            try:
                self.compile()
            except EmulatorError:
                self._extra.remove(name)
                self._translation, self._library = before, None
            else:
                return
        known = ", ".join(sorted(self._translation.kernels)) or "none"
        raise EmulatorError(f"{self.name} has no kernel {name!r}; its __global__ functions: {known}")

    def get_global(self, name: str) -> Any:
        """The memory of a `__constant__` or `__device__` variable, to be wrapped: `np.ndarray(shape, dtype, memory)`.

        Raises:
            EmulatorError: there is no such variable.
        """
        try:
            find = getattr(self.library, f"emu_global_{name}")
        except AttributeError:
            raise EmulatorError(f"{self.name} has no __constant__ or __device__ variable {name!r}") from None
        size = ctypes.c_size_t()
        find.restype = ctypes.c_void_p
        address = find(ctypes.byref(size))
        return (ctypes.c_char * size.value).from_address(address)

    def place(self, failure: Failure) -> Place:
        """Where a failure happened, in the words of the source."""
        file, line, callers = self.name, failure.line, []
        if line == 0 and failure.pc and self.library_path is not None:
            own = self.own_frames(failure.pc - failure.module_base)
            if own:
                file, line = own[0]
                callers = [f"{f}:{n}" for f, n in own[1:]]
        return Place(file, line, self.text_of(file, line), tuple(failure.block), tuple(failure.thread), tuple(callers))

    def own_frames(self, pc: int) -> list[tuple[str, int]]:
        """File and line of an address of the library: the kernel's own text only, innermost first."""
        if self.library_path is None:
            return []
        files = self._translation.files
        return [frame for frame in lines.table(self.library_path).frames(pc) if frame[0] in files]

    @property
    def address_range(self) -> tuple[int, int]:
        """Where the library lies in memory."""
        low, high = ctypes.c_uint64(), ctypes.c_uint64()
        runtime().emu_module_range(self.library.emu_module, ctypes.byref(low), ctypes.byref(high))
        return low.value, high.value

    @property
    def dynamic_shared(self) -> list[str]:
        """Names of the `extern __shared__` arrays."""
        return self._translation.dynamic_shared

    @property
    def shared_names(self) -> list[str]:
        """Names of all arrays in shared memory."""
        return [*self._translation.static_shared, *self._translation.dynamic_shared]

    def text_of(self, file: str, line: int) -> str:
        """One line of the source, or nothing where it is not known."""
        text = self._translation.files.get(file, [])
        return text[line - 1] if 0 < line <= len(text) else ""


class RawKernel:
    """One `__global__` function, called as `kernel(grid, block, args, shared_mem=0)`.

    Attributes:
        costs: after a launch with `Checks(costs=True)`, what it cost (`emulator.Costs`).

    Args:
        code: the source text.
        name: the kernel's name.
        options, backend, enable_cooperative_groups: see `RawModule`.

    Raises:
        EmulatorError, CompileError, NoCompilerError: see `RawModule`.
    """

    def __init__(
        self,
        code: str,
        name: str,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        *,
        enable_cooperative_groups: bool = False,
    ) -> None:
        module = RawModule(code, options=options, enable_cooperative_groups=enable_cooperative_groups)
        self.__dict__ = module.get_function(name).__dict__

    module: RawModule
    name: str
    parameters: tuple[arguments.Parameter, ...]
    costs: Costs | None
    _packer: arguments.Packer
    _request: LaunchRequest
    _dynamic_limit: int

    @classmethod
    def _of(cls, module: RawModule, name: str, symbol: str, parameters: Sequence[str]) -> RawKernel:
        self = cls.__new__(cls)
        self.module, self.name, self.costs = module, name, None
        library = module.library
        text = ctypes.create_string_buffer(4096)
        try:
            getattr(library, f"emu_signature_{symbol}")(text)
            run = getattr(library, f"emu_run_{symbol}")
        except AttributeError:
            raise EmulatorError(f"{module.name} has no kernel {name!r}") from None
        self.parameters = arguments.parse_signature(text.value.decode(), parameters)
        self._packer = arguments.Packer(name, self.parameters)
        self._request = LaunchRequest(run=ctypes.cast(run, ctypes.c_void_p).value, cooperative=module.cooperative)
        self._dynamic_limit = DEFAULT_DYNAMIC_SHARED
        return self

    max_threads_per_block = MAX_THREADS

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """Bytes of dynamic shared memory that a launch may ask for; raise it before asking for more than 48 KiB."""
        return self._dynamic_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if not 0 <= size <= MAX_DYNAMIC_SHARED:
            raise LaunchError(
                f"{self.name}: {size} bytes of dynamic shared memory; a block can have {MAX_DYNAMIC_SHARED}"
            )
        self._dynamic_limit = int(size)

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        """Launch and wait for the end.

        Args:
            grid: blocks in x, y, z (one to three numbers).
            block: threads in x, y, z, at most 1,024 in all.
            args: NumPy arrays for pointers, NumPy scalars for values.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            LaunchError: the shape, the shared memory or an argument is not what the kernel can take.
            KernelCrash: it faulted, trapped, or its threads wait for each other.
            KernelTimeout: it did not end in time.
            CheckError: the checker found a fault (in a module built with `check`).
            KeyboardInterrupt: Ctrl-C.
        """
        request = self._request
        request.grid[:] = self._shape("grid", grid, MAX_GRID)
        request.block[:] = self._shape("block", block, MAX_BLOCK)
        threads = request.block[0] * request.block[1] * request.block[2]
        if threads > MAX_THREADS:
            raise LaunchError(f"{self.name}: a block of {tuple(request.block)} has {threads} threads; the most is 1024")
        if not 0 <= shared_mem <= self._dynamic_limit:
            hint = "; set kernel.max_dynamic_shared_size_bytes first" if shared_mem <= MAX_DYNAMIC_SHARED else ""
            raise LaunchError(
                f"{self.name}: {shared_mem} bytes of dynamic shared memory, but {self._dynamic_limit} are allowed{hint}"
            )
        if request.cooperative and request.grid[0] * request.grid[1] * request.grid[2] > MAX_THREADS:
            raise LaunchError(
                f"{self.name}: a cooperative launch has at most {MAX_THREADS} blocks here, got {tuple(request.grid)}"
            )
        request.shared_bytes = shared_mem
        request.time_limit_s = time_limit_s()
        if self.module.checks is not None:
            checker.launch(self, request, args, self.module.checks)
            return
        request.args = self._packer.pack(args)
        request.workers = worker_count()
        if runtime().emu_launch(ctypes.byref(request)):
            self._raise(runtime().emu_failure().contents)

    def _shape(self, what: str, given: Sequence[int], most: tuple[int, int, int]) -> tuple[int, ...]:
        try:
            shape = tuple(int(n) for n in given)
        except (TypeError, ValueError):
            raise LaunchError(
                f"{self.name}: {what} is {given!r}: expected a tuple of one to three whole numbers"
            ) from None
        if not 1 <= len(shape) <= 3:
            raise LaunchError(f"{self.name}: {what} has {len(shape)} numbers: expected one to three")
        shape += (1,) * (3 - len(shape))
        for axis, n, limit in zip("xyz", shape, most, strict=True):
            if not 1 <= n <= limit:
                raise LaunchError(f"{self.name}: {what} {shape} is {n} in {axis}: expected 1 to {limit}")
        return shape

    def _raise(self, failure: Failure) -> None:
        kind = FAILURES[failure.kind]
        message = failure.message.decode(errors="replace")
        if kind == "interrupted":
            raise KeyboardInterrupt
        place = self.module.place(failure)
        if kind == "timeout":
            seconds = time_limit_s()
            raise KernelTimeout(
                self.name,
                kind,
                f"still running after {seconds:g} s (EMULATOR_TIME_LIMIT): an endless loop?",
                place,
            )
        raise KernelCrash(self.name, kind, message, place)
