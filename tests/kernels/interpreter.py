"""Instruments for kernels under Triton's interpreter: running programs in another order, and detecting
conflicting memory accesses."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from triton.runtime import interpreter

BUILDER = interpreter.interpreter_builder
"""Executes the operations of kernels."""


@contextlib.contextmanager
def programs_in_order(order: Callable[[int], list[int]]) -> Iterator[list[int]]:
    """Runs the programs of each launch in the order that ``order(number of programs)`` returns. Yields a list
    to which each launch appends its number of programs."""
    plain, launches, chosen = BUILDER.set_grid_idx, [], []

    def set_grid_idx(x: int, y: int, z: int) -> None:
        nonlocal chosen
        if x == 0:
            chosen = order(BUILDER.grid_dim[0])
            assert sorted(chosen) == list(range(BUILDER.grid_dim[0]))
            launches.append(len(chosen))
        plain(chosen[x], y, z)

    with _replaced(BUILDER, set_grid_idx=set_grid_idx):
        yield launches


@contextlib.contextmanager
def conflicts() -> Iterator[dict[str, set[str]]]:
    """Yields a dictionary that maps each kernel that runs to the names of its arguments, or of fields of
    named tuples among them, whose contents could depend on the order of programs or of threads in a program.

    This is the case if two lanes access the same byte in one launch, and one writes what the other reads, or
    both write different values. Atomic operations conflict with all others, but not with each other. They
    return garbage here, so that results show whether a kernel uses what they return. A lane is an element of
    a block of some shape, or a scalar, of one program; lanes are not synchronized."""
    found: dict[str, set[str]] = {}
    seen: list[_Access] = []
    load, store, atomic = BUILDER.create_masked_load, BUILDER.create_masked_store, BUILDER.create_atomic_rmw
    run = interpreter.GridExecutor.__call__

    def noted_load(pointers: Any, mask: Any, *rest: Any) -> Any:
        seen.append(_access("reads", pointers, mask))
        return load(pointers, mask, *rest)

    def noted_store(pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        seen.append(_access("writes", pointers, mask, value))
        return store(pointers, value, mask, *rest)

    def noted_atomic(operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        seen.append(_access("atomics", pointers, mask))
        before = atomic(operation, pointers, value, mask, *rest)
        return interpreter.TensorHandle(np.full_like(before.data, 0x5A), before.dtype)

    def noted_run(self: Any, *arguments: Any, **constants: Any) -> None:
        seen.clear()
        run(self, *arguments, **constants)
        bound = inspect.signature(self.fn).bind_partial(*arguments).arguments
        found.setdefault(self.fn.__name__, set()).update(_contested(seen, _tensors(bound)))

    with (
        _replaced(
            BUILDER, create_masked_load=noted_load, create_masked_store=noted_store,
            create_atomic_rmw=noted_atomic,
        ),
        _replaced(interpreter.GridExecutor, __call__=noted_run),
    ):  # fmt: skip
        yield found


class _Access(NamedTuple):
    """The bytes that one operation accesses; the arrays have shape [n]."""

    kind: str
    address: np.ndarray
    lane: np.ndarray
    value: np.ndarray
    """Values written, 0 for reads."""


def _access(kind: str, pointers: Any, mask: Any, value: Any = None) -> _Access:
    shape, many = pointers.data.shape, pointers.data.size
    taken = np.broadcast_to(mask.data, shape).reshape(-1).astype(bool)
    width = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
    # Elements of blocks of different shapes are different lanes. A scalar is one lane, whatever its number of
    # dimensions.
    block = hash(shape) % (1 << 20) if many > 1 else 0
    lane = (BUILDER.grid_idx[0] << 48) + (block << 28) + np.arange(many, dtype=np.int64)[taken]
    address = pointers.data.reshape(-1)[taken].astype(np.int64)[:, None] + np.arange(width)
    if value is None:
        written = np.zeros(address.size, dtype=np.uint8)
    else:
        whole = np.ascontiguousarray(np.broadcast_to(value.data, shape)).reshape(-1)[taken]
        assert whole.itemsize == width
        written = whole.view(np.uint8)
    return _Access(kind, address.reshape(-1), np.repeat(lane, width), written)


def _tensors(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the tensors among the arguments by the name of the parameter or named tuple field."""
    tensors: dict[str, Tensor] = {}
    for name, value in arguments.items():
        found = {name: value} if isinstance(value, Tensor) else {}
        if hasattr(value, "_asdict"):
            found = _tensors(value._asdict())
        assert not tensors.keys() & found.keys(), "two tensors of the same name"
        tensors |= found
    return tensors


def _contested(accesses: list[_Access], tensors: dict[str, Tensor]) -> set[str]:
    """Returns the names of the tensors in which accesses conflict."""
    if not accesses:
        return set()
    address, place = np.unique(np.concatenate([a.address for a in accesses]), return_inverse=True)
    lane = np.concatenate([a.lane for a in accesses])
    value = np.concatenate([a.value for a in accesses])
    kind = np.repeat([a.kind for a in accesses], [len(a.address) for a in accesses])

    def several(what: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Returns [addresses] bool: whether ``what`` differs among the accesses ``among`` to an address."""
        low, high = np.full(len(address), 1 << 62), np.full(len(address), -1)
        np.minimum.at(low, place[among], what[among].astype(np.int64))
        np.maximum.at(high, place[among], what[among].astype(np.int64))
        return high > low

    def happens(what: str) -> np.ndarray:
        return np.bincount(place[kind == what], minlength=len(address)) > 0

    reads, writes, atomics = happens("reads"), happens("writes"), happens("atomics")
    matters = (writes & (reads | atomics)) | (atomics & reads) | several(value, kind == "writes")
    meeting = address[several(lane, np.ones(len(lane), dtype=bool)) & matters]
    names = {
        name: (tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * tensor.element_size())
        for name, tensor in tensors.items()
    }
    named = {name for name, (start, end) in names.items() if ((meeting >= start) & (meeting < end)).any()}
    assert named or not len(meeting), "a conflict outside all arguments"
    return named


@contextlib.contextmanager
def _replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    before = {name: vars(owner).get(name) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
