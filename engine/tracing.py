"""Who looks on while work is given to the device: nobody, or a tracer, which may time it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

Tracer = Callable[[str, Callable[[], Any]], Any]

_tracer: Tracer | None = None


@contextlib.contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """In this block, every kernel is launched by `tracer(name, launch)`, which calls `launch` and returns what it returns.

    Kernels that were loaded before the block and kept are not seen; the engine loads one at each launch.
    """
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


def launched(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a library that gives work to the device, so that a tracer sees it as a launch of that name."""
    return function(*arguments) if _tracer is None else _tracer(name, lambda: function(*arguments))


def seen(module: Any) -> Any:
    """A compiled module as the caller gets it: itself, or with kernels whose launches the tracer sees."""
    return module if _tracer is None else _Module(module, _tracer)


class _Module:
    """A compiled module in the eyes of a tracer."""

    def __init__(self, module: Any, tracer: Tracer) -> None:
        self._module, self._tracer = module, tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def get_function(self, name: str) -> _Kernel:
        return _Kernel(name, self._module.get_function(name), self._tracer)


class _Kernel:
    """A kernel in the eyes of a tracer; its attributes, to be read or set, are the kernel's own."""

    def __init__(self, name: str, kernel: Any, tracer: Tracer) -> None:
        self.__dict__.update(_name=name, _kernel=kernel, _tracer=tracer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._kernel, name, value)

    def __call__(self, *arguments: Any, **options: Any) -> None:
        self._tracer(self._name, lambda: self._kernel(*arguments, **options))
