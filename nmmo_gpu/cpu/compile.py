"""Compilation of loops with numba, once per machine and version of the sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import numba
from torch import Tensor

from nmmo_gpu.cpu.compilation_cache import CompilationCache, folder
from nmmo_gpu.world.state import World

Fields = TypeVar("Fields", bound=tuple[Any, ...])


def fields_of(kind: type[Fields], source: Any, **others: Any) -> Fields:
    """Returns a named tuple of a kind, as an argument of a loop. Its fields are the attributes of ``source``
    with the same names, except those given in ``others``."""
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return kind(*(others[name] if name in others else getattr(source, name) for name in names))


def arrays_of(names: str, world: World) -> tuple[Any, ...]:
    """Returns the arrays of the world's tensors with these names, as an argument of a loop.

    A plain tuple, since a call of a loop takes 2 us more with a named one. The loop unpacks it at its top."""
    return tuple(map(Tensor.numpy, _getter(names)(world)))


def choices_of(*choices: Tensor) -> tuple[Any, ...]:
    """Returns the arrays of choices of one head each, as int64 and contiguous, so that a loop is compiled
    only once for all dtypes and layouts of actions."""
    return tuple(choice.long().contiguous().numpy() for choice in choices)


@cache
def _getter(names: str) -> attrgetter[tuple[Any, ...]]:
    return attrgetter(*names.split())


def compiled(
    function: Callable[..., Any] | None = None, *, inline: str = "never", allocates: bool = True
) -> Any:
    """``numba.njit`` without the GIL, and with an on-disk cache that detects every change.

    numba's own cache checks only the file in which a function is defined. It would miss changes to constants
    and inlined functions in other files, and use outdated code. ``nmmo_gpu.cpu.compilation_cache`` has a
    folder for each version of all sources.

    The function must not be a closure: it would be compiled again for each value of its variables. Sizes are
    arguments instead.

    Args:
        inline: "always" makes callers include the function's code.
        allocates: whether the loop, or a function inlined in it, makes arrays. If not, numba does not count
            references to arrays, which takes time for each array that is read from a tuple.
    """
    if function is None:
        return lambda f: compiled(f, inline=inline, allocates=allocates)
    options: dict[str, Any] = {"nogil": True, "inline": inline, "_nrt": allocates}
    if function.__closure__:
        names = ", ".join(function.__code__.co_freevars)
        raise TypeError(f"{function.__qualname__} must not be a closure; pass {names} as arguments.")
    loop: Any = numba.njit(**options)(function)
    if hasattr(loop, "_cache"):  # not with NUMBA_DISABLE_JIT=1
        loop._cache = CompilationCache(function, folder())
    return loop
