"""Gathering of the network's matrices and of its parameters' gradients; twin of
``nmmo_gpu.train.weight_table.gather_sum``."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import launch

_Sizes = namedtuple("_Sizes", "sources results")
"""Entries of all sources and of all results of a population."""


@triton.jit
def _gather_sum(
    source, terms, blocks, out, sizes, POPULATIONS: tl.constexpr, TERMS: tl.constexpr, BLOCK: tl.constexpr
):
    """Each entry of the results as a sum of entries of the sources, for all populations.

    Order-free: each entry is written by one program."""
    block = blocks + tl.program_id(0) * 3
    start, end = tl.load(block + 1), tl.load(block + 2)
    entry = tl.load(block) + tl.arange(0, BLOCK)
    here = entry < end
    # Results follow each other, with all populations of each.
    into = out + start.to(tl.int64) * POPULATIONS + (entry - start)
    for _ in range(POPULATIONS):
        total = tl.zeros([BLOCK], tl.float32)
        for number in tl.static_range(TERMS):
            term = tl.load(terms + number * sizes.results + entry, mask=here, other=0)
            value = tl.load(source + tl.abs(term) - 1, mask=term != 0, other=0.0).to(tl.float32)
            total += tl.where(term < 0, -value, value)
        tl.store(into, total.to(out.dtype.element_ty), mask=here)
        source += sizes.sources
        into += end - start


def gather_sum(sources: Sequence[Tensor], gather: Any, dtype: torch.dtype) -> list[Tensor]:
    """See ``nmmo_gpu.train.weight_table.gather_sum``."""
    flat = torch.cat([source.flatten(1) for source in sources], 1)
    populations, width = flat.shape
    count, results = gather.terms.shape
    out = torch.empty(populations * results, dtype=dtype, device=flat.device)
    launch(
        _gather_sum, len(gather.blocks), flat, gather.terms, gather.blocks, out,
        _Sizes(width, results), POPULATIONS=populations, TERMS=count, BLOCK=gather.block,
    )  # fmt: skip
    parts = torch.split(out, [populations * math.prod(shape) for shape in gather.shapes])
    return [part.view(populations, *shape) for part, shape in zip(parts, gather.shapes, strict=True)]
