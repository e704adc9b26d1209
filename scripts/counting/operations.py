"""Counts torch's operations, and the bytes that they read and write, from shapes alone."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

WITHOUT_WORK = frozenset(
    (
        "_unsafe_view", "_reshape_alias", "detach", "alias", "lift_fresh", "empty", "empty_like",
        "empty_strided", "new_empty", "new_empty_strided", "set_", "resize_", "is_pinned",
        "_local_scalar_dense", "_record_function_enter_new", "_record_function_exit",
    )
)  # fmt: skip
"""Operations besides views that run nothing on the device."""
PRODUCTS = frozenset(("mm", "bmm", "addmm", "baddbmm", "baddbmm_", "addmm_", "mv", "addmv", "_scaled_mm"))
OVERWRITING = frozenset(("copy_", "fill_", "zero_", "random_", "uniform_", "normal_"))
"""Operations that do not read what they overwrite."""
LOOKUPS = frozenset(("index", "index_select", "gather", "embedding", "take"))
"""Operations that read as many elements of their first argument as they return."""


@dataclass
class Total:
    """What all operations of a name do together."""

    operations: int = 0
    bytes: float = 0.0
    """Bytes read and written, each operation's once."""
    flops: float = 0.0


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations in this context that run on the device: all but views and allocations.

    Each counts as one, as torch's dispatcher calls it, also those that need several kernels, such as sorting.
    Elements that are repeated by a stride of 0 count once. A product that adds another matrix first copies
    it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.totals: collections.defaultdict[str, Total] = collections.defaultdict(Total)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts it."""
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = function._schema.name.split("::")[-1]
        if function.is_view or name in WITHOUT_WORK:
            return result
        total = self.totals[name]
        total.operations += 1
        size, flops = work_of(function._schema, name, args, kwargs, result)
        total.bytes += size
        total.flops += flops
        return result

    @property
    def operations(self) -> int:
        """Number of operations."""
        return sum(total.operations for total in self.totals.values())

    def sums(self, products: bool) -> Total:
        """Returns the sums over matrix products, or over all others."""
        chosen = [total for name, total in self.totals.items() if (name in PRODUCTS) == products]
        return Total(
            sum(total.operations for total in chosen), sum(total.bytes for total in chosen),
            sum(total.flops for total in chosen),
        )  # fmt: skip


def work_of(
    schema: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> tuple[float, float]:
    """Returns (bytes, floating-point operations) of an operation."""
    given = [
        (argument.alias_info is not None and argument.alias_info.is_write, list(_tensors(value)))
        for argument, value in zip(schema.arguments, [*args, *(None for _ in schema.arguments)], strict=False)
    ]
    names = [argument.name for argument in schema.arguments]
    for key, value in kwargs.items():
        written = schema.arguments[names.index(key)].alias_info
        given.append((written is not None and written.is_write, list(_tensors(value))))
    reads = [tensor for _, tensors in given for tensor in tensors]
    overwritten = [tensor for written, tensors in given if written for tensor in tensors]
    known = {tensor.untyped_storage()._cdata for tensor in overwritten}
    made = [tensor for tensor in _tensors(result) if tensor.untyped_storage()._cdata not in known]
    writes = sum(map(size_of, overwritten + made))
    if name in OVERWRITING:
        sources = [tensor for tensor in reads if all(tensor is not target for target in overwritten)]
        return writes + sum(map(size_of, sources)), 0.0
    if name in LOOKUPS:
        return 2 * writes + sum(map(size_of, reads[1:])), 0.0
    if name in PRODUCTS:
        left, right = reads[-2:]
        added = reads[:-2]
        flops = 2.0 * left.numel() * (right.shape[-1] if right.dim() > 1 else 1)
        copied = 2 * writes if added and not overwritten else 0
        return sum(map(size_of, reads)) + writes + copied, flops
    return sum(map(size_of, reads)) + writes, 0.0


def size_of(tensor: Tensor) -> int:
    """Returns the bytes of a tensor's distinct elements."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride != 0 else min(size, 1)
    return elements * tensor.element_size()


def _tensors(value: Any) -> list[Tensor]:
    return [part for part in tree_iter(value) if isinstance(part, Tensor)]
