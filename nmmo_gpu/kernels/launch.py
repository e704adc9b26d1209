"""How kernels are laid over slots, and launched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Kernels run under Triton's interpreter (TRITON_INTERPRET=1), on CPU tensors."""

BLOCK = 4096 if INTERPRETED else 128
"""Most slots that one program handles. The interpreter's time goes by operations, not by elements."""

TILES = 1 << 16 if INTERPRETED else 2048
"""Tiles that one program handles."""

LANES = 1 << 20 if INTERPRETED else 4096
"""Most elements of a two-dimensional block, where a program handles several agents."""

WARP = 32

FUSED_ROUNDING = False
"""Products are rounded before they are added, as torch's are; floats come out alike."""


class Launch(NamedTuple):
    """One launch, as seen by ``diverted``."""

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    constants: dict[str, Any]
    warps: int


_instead: Callable[[Launch], None] | None = None
"""What is done with launches instead of running them."""


@contextlib.contextmanager
def diverted(instead: Callable[[Launch], None]) -> Iterator[None]:
    """Launches made inside are handed over instead of run: to see what would be launched, without a GPU."""
    global _instead
    _instead, before = instead, _instead
    try:
        yield
    finally:
        _instead = before


def runs_on_cpu() -> bool:
    """Whether launches on CPU tensors make sense: under the interpreter, or where they are not run."""
    return INTERPRETED or _instead is not None


def launch(kernel: Any, programs: int, *arguments: Any, warps: int = 4, **constants: Any) -> None:
    """Runs ``programs`` programs of a kernel on the device of its first tensor, without waiting for them.

    Args:
        arguments: tensors and integers, in the order of the kernel's parameters.
        constants: its ``tl.constexpr`` parameters.
    """
    if _instead is not None:
        _instead(Launch(kernel, programs, arguments, constants, warps))
        return
    if programs == 0:
        return
    device = next(a for a in arguments if isinstance(a, Tensor)).device
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        kernel[(programs,)](*arguments, num_warps=warps, enable_fp_fusion=FUSED_ROUNDING, **constants)


class Slots(NamedTuple):
    """How the slots of all realms are cut into blocks; a block never holds slots of two realms."""

    programs: int
    """Blocks in all: realms * chunks."""
    slots: int
    """Slots of a realm."""
    chunks: int
    """Blocks per realm."""
    block: int
    """Slots per block, a power of two."""

    @property
    def warps(self) -> int:
        """Warps that suit a block, one thread per slot."""
        return max(1, min(4, self.block // WARP))


def over_slots(realms: int, slots: int, most: int | None = None) -> Slots:
    """Cuts [realms, slots] into blocks of up to ``most`` (``BLOCK``) slots."""
    block = min(triton.next_power_of_2(max(slots, WARP)), most or BLOCK)
    chunks = triton.cdiv(slots, block)
    return Slots(realms * chunks, slots, chunks, block)


def over_elements(n: int) -> tuple[int, int]:
    """(programs, elements per program) for ``n`` elements that have nothing to do with each other."""
    return triton.cdiv(n, BLOCK), BLOCK


def over_tiles(n: int) -> tuple[int, int]:
    """(programs, tiles per program) for ``n`` tiles."""
    return triton.cdiv(n, TILES), TILES


def agents_per_program(lanes: int) -> int:
    """How many agents share a program in which each takes ``lanes`` elements; a power of two."""
    return max(1, LANES // lanes)
