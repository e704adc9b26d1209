"""Launches of kernels, and the division of slots among their programs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
import triton
from torch import Tensor

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether kernels run under Triton's interpreter (TRITON_INTERPRET=1), on CPU tensors."""

BLOCK = 4096 if INTERPRETED else 128
"""Maximum number of slots per program. The interpreter's time depends on operations, not on elements."""

TILES = 1 << 16 if INTERPRETED else 2048
"""Tiles per program."""

LANES = 1 << 20 if INTERPRETED else 4096
"""Maximum number of elements of a two-dimensional block, if a program processes several agents."""

WARP = 32

FUSED_ROUNDING = False
"""Whether products and sums are fused. Products are rounded first, as in torch, so that floats are equal."""


Fields = TypeVar("Fields", bound=tuple[Any, ...])


def fields_of(kind: type[Fields], source: Any, **others: Any) -> Fields:
    """Returns a named tuple of type ``kind``, as an argument of a kernel. Its fields are the attributes of
    ``source`` with the same names, except those given in ``others``."""
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return kind(*(others[name] if name in others else getattr(source, name) for name in names))


class Launch(NamedTuple):
    """One launch, as passed to ``diverted``."""

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    constants: dict[str, Any]
    warps: int


_instead: Callable[[Launch], None] | None = None
"""Function that receives launches instead of running them."""


@contextlib.contextmanager
def diverted(instead: Callable[[Launch], None]) -> Iterator[None]:
    """Context in which launches are passed to ``instead`` and not run, to list them without a GPU."""
    global _instead
    _instead, before = instead, _instead
    try:
        yield
    finally:
        _instead = before


def runs_on_cpu() -> bool:
    """Returns whether launches on CPU tensors are valid: under the interpreter, or if they are diverted."""
    return INTERPRETED or _instead is not None


def launch(kernel: Any, programs: int, *arguments: Any, warps: int = 4, **constants: Any) -> None:
    """Runs ``programs`` programs of a kernel on the device of its first tensor, without synchronizing.

    Args:
        kernel: a function decorated with ``triton.jit``.
        programs: the number of programs; with 0, nothing is launched.
        arguments: tensors, integers, and named tuples of them, in the order of the kernel's parameters.
        warps: the number of warps per program.
        constants: the kernel's ``tl.constexpr`` parameters.
    """
    if _instead is not None:
        _instead(Launch(kernel, programs, arguments, constants, warps))
        return
    if programs == 0:
        return
    device = next(tensors_in(arguments)).device
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        kernel[(programs,)](*arguments, num_warps=warps, enable_fp_fusion=FUSED_ROUNDING, **constants)


def tensors_in(arguments: tuple[Any, ...]) -> Iterator[Tensor]:
    """Yields the tensors among a kernel's arguments, including those in nested tuples."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, tuple):
            yield from tensors_in(argument)


class Slots(NamedTuple):
    """The division of the slots of all realms into blocks; a block never holds slots of two realms."""

    programs: int
    """Total number of blocks: realms * chunks."""
    slots: int
    """Slots per realm."""
    chunks: int
    """Blocks per realm."""
    block: int
    """Slots per block, a power of two."""

    @property
    def warps(self) -> int:
        """Number of warps per program: one thread per slot, at most 4 warps."""
        return max(1, min(4, self.block // WARP))


def over_slots(realms: int, slots: int, max_block: int | None = None) -> Slots:
    """Divides [realms, slots] into blocks of at most ``max_block`` slots, by default ``BLOCK``."""
    block = min(triton.next_power_of_2(max(slots, WARP)), max_block or BLOCK)
    chunks = triton.cdiv(slots, block)
    return Slots(realms * chunks, slots, chunks, block)


def over_elements(n: int) -> tuple[int, int]:
    """Returns (programs, elements per program) for ``n`` independent elements."""
    return triton.cdiv(n, BLOCK), BLOCK


def over_tiles(n: int) -> tuple[int, int]:
    """Returns (programs, tiles per program) for ``n`` tiles."""
    return triton.cdiv(n, TILES), TILES


def agents_per_program(lanes: int) -> int:
    """Returns the number of agents per program if each needs ``lanes`` elements; a power of two."""
    return max(1, LANES // lanes)
