"""Tables that say which parameter each entry of the network's matrices is.

Every entry of a matrix of ``nmmo_gpu.train.weights.Weights`` is zero, or one parameter times 1 or -1. So all
matrices can be made by one gather from the parameters, and the gradients of all parameters by one gather from
those of the matrices, with a few terms per parameter in a fixed order. The tables are found by computing the
matrices in torch from the numbers of the parameters in place of their values, so that code remains the only
definition of the matrices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.train.weights import Weights

BLOCK = 1024
"""Entries of a block. A block belongs to one tensor."""
MOST = 1 << 24
"""Most parameters of a population: float32 represents whole numbers up to here."""


@dataclass(frozen=True)
class Gather:
    """How to compute the entries of some tensors as sums of entries of others, for each population."""

    terms: Tensor
    """[K, n] int32: the terms of each entry of the results, numbered over all sources from 1; negative if
    subtracted, 0 for no term."""
    blocks: Tensor
    """[blocks, 3] int32: first entry of a block, and first and end of the result that it belongs to."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the results, without the populations."""
    block: int = BLOCK
    """Maximum number of entries of a block."""

    @staticmethod
    def of(terms: Tensor, shapes: Sequence[tuple[int, ...]]) -> Gather:
        """Returns the gather of these terms and shapes, on the terms' device."""
        ends = list(itertools.accumulate(map(math.prod, shapes)))
        blocks = [
            (first, start, end)
            for start, end in itertools.pairwise((0, *ends))
            for first in range(start, end, BLOCK)
        ]
        on = torch.tensor(blocks, dtype=torch.int32, device=terms.device)
        return Gather(terms, on.view(-1, 3), tuple(shapes))

    def to(self, device: torch.device) -> Gather:
        """Returns the same with tensors on a device."""
        return Gather(self.terms.to(device), self.blocks.to(device), self.shapes)


def gather_sum(sources: Sequence[Tensor], gather: Gather, dtype: torch.dtype) -> list[Tensor]:
    """Computes sums of entries.

    Args:
        sources: [P, ...] each, of one dtype.
        gather: the terms of each result.
        dtype: of the results; terms are added in float32.

    Returns:
        [P, *shape] contiguous, for each shape of ``gather``.
    """
    flat = torch.cat([source.flatten(1) for source in sources], 1).float()
    picked = flat[:, (gather.terms.abs() - 1).clamp(min=0).long()] * gather.terms.sign()
    total = picked[:, 0]
    for term in picked.unbind(1)[1:]:
        total = total + term
    parts = torch.split(total.to(dtype), [math.prod(shape) for shape in gather.shapes], 1)
    return [
        part.reshape(len(flat), *shape).contiguous() for part, shape in zip(parts, gather.shapes, strict=True)
    ]


@dataclass(frozen=True)
class WeightTable:
    """The gathers of a network's matrices and of the gradients of its parameters."""

    matrices: Gather
    gradients: Gather
    fields: tuple[int | None, ...]
    """For each field of ``Weights``: None if it is None, 0 for a matrix, else the number of matrices of a
    tuple."""

    @staticmethod
    def of(make: Callable[[Mapping[str, Tensor]], Weights], shapes: Mapping[str, torch.Size]) -> WeightTable:
        """Returns the table of matrices, on the CPU.

        Args:
            make: computes the matrices [P, ...] in float32 from parameters [P, ...] by name.
            shapes: shapes of the parameters, without the populations.

        Raises ValueError if there are more than ``MOST`` parameters, or if an entry of a matrix is not a
        parameter or its negative."""
        sizes = [math.prod(shape) for shape in shapes.values()]
        if sum(sizes) > MOST:
            raise ValueError(f"{sum(sizes)} parameters, more than float32 can number")

        def made(values: Tensor) -> tuple[list[Tensor], tuple[int | None, ...]]:
            parts = torch.split(values, sizes)
            named = {
                name: part.view(1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
            }
            return _flatten(make(named))

        numbers = torch.arange(1, sum(sizes) + 1, dtype=torch.float32, device="cpu")
        matrices, fields = made(numbers)
        terms = torch.cat([matrix.flatten() for matrix in matrices]).to(torch.int32)[None]
        # Sums of several parameters look like numbers of others, but not for other values.
        random = torch.Generator(device="cpu").manual_seed(0)
        values = torch.rand(len(numbers), generator=random, dtype=torch.float32, device="cpu")
        shapes_out = [tuple(matrix.shape[1:]) for matrix in matrices]
        forward = Gather.of(terms, shapes_out)
        expected, _ = made(values)
        exists = bool(terms.abs().max() <= len(numbers))
        if not exists or not all(
            map(torch.equal, gather_sum([values[None]], forward, torch.float32), expected)
        ):
            raise ValueError("an entry of a matrix is neither a parameter nor the negative of one")
        backward = Gather.of(_uses(terms[0], len(numbers)), [tuple(shape) for shape in shapes.values()])
        return WeightTable(forward, backward, fields)

    def to(self, device: torch.device) -> WeightTable:
        """Returns the same with tensors on a device."""
        return WeightTable(self.matrices.to(device), self.gradients.to(device), self.fields)

    def weights(
        self, parameters: Sequence[Tensor], dtype: torch.dtype, gather: Callable[..., list[Tensor]]
    ) -> Weights:
        """Returns the matrices of ``dtype``, differentiable.

        Args:
            parameters: [P, ...] float32 each, contiguous, in the order of ``of``.
            dtype: float32 or bfloat16.
            gather: ``gather_sum`` or a twin of it."""
        made: Any = _Matrices.apply(self, dtype, gather, *parameters)  # type: ignore[no-untyped-call]
        matrices = iter(made)

        def field(count: int | None) -> Any:
            if count is None:
                return None
            return tuple(itertools.islice(matrices, count)) if count else next(matrices)

        return Weights(*map(field, self.fields))


def _flatten(
    fields: Iterable[Tensor | tuple[Tensor, ...] | None],
) -> tuple[list[Tensor], tuple[int | None, ...]]:
    """Returns (all matrices of ``Weights``, ``WeightTable.fields``)."""
    matrices: list[Tensor] = []
    counts: list[int | None] = []
    for field in fields:
        if isinstance(field, Tensor):
            matrices.append(field)
            counts.append(0)
        else:
            matrices += field or ()
            counts.append(None if field is None else len(field))
    return matrices, tuple(counts)


def _uses(terms: Tensor, count: int) -> Tensor:
    """Returns [K, count] int32: the entries that are each of ``count`` parameters, in ascending order,
    numbered from 1 and negative for negatives, padded with zeros.

    Args:
        terms: [n] int32, the numbers of the parameters, from 1; negative for negatives, 0 for none."""
    entry = terms.nonzero().squeeze(1)
    parameter = terms[entry].abs().long() - 1
    parameter, order = parameter.sort(stable=True)
    entry = entry[order]
    uses = torch.bincount(parameter, minlength=count)
    number = torch.arange(len(entry), dtype=torch.int64, device=terms.device)
    number -= (uses.cumsum(0) - uses)[parameter]
    out = torch.zeros(max(1, int(uses.max())), count, dtype=torch.int32, device=terms.device)
    out[number, parameter] = ((entry + 1) * terms[entry].sign()).to(torch.int32)
    return out


class _Matrices(torch.autograd.Function):
    """See ``WeightTable.weights``."""

    @staticmethod
    def forward(
        ctx: Any, table: WeightTable, dtype: torch.dtype, gather: Callable[..., list[Tensor]],
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        ctx.table, ctx.gather = table, gather
        return tuple(gather(parameters, table.matrices, dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *ctx.gather(grads, ctx.table.gradients, torch.float32)
