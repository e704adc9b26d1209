"""Bytes of kernels that use every element of their tensors, from the shapes alone.

Under the interpreter these kernels would take minutes. A launch reads and writes each of its tensors once, if
the caches serve repeated reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from counting.operations import size_of
from nmmo_gpu.kernels.launch import Launch, tensors_in

WRITTEN = {
    "_gather_sum": ("out",),
    "_layer": ("out", "active", "kept"),
    "_layer_backward": ("slope", "grad", "shares"),
}
"""The kernels, and the parameters that they write; they read the others."""
OPERANDS = {"_layer": ("a", "b", "out"), "_layer_backward": ("a", "b", "slope")}
"""Operands and result of the matrix product in a kernel."""


@dataclass
class Bytes:
    """Bytes of a launch."""

    read: int = 0
    written: int = 0
    operands: int = 0
    """Of these, bytes of the operands and the result of a matrix product."""


def bytes_of(launch: Launch) -> Bytes:
    """Returns the bytes of a launch of a kernel of ``WRITTEN``.

    A tensor that is passed for several parameters serves as a placeholder for all but one of them. It counts
    once, for the first of: operands, other written parameters, other parameters."""
    name = launch.kernel.__name__
    given: dict[str, Any] = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
    if launch.constants.get("RESIDUAL") is False:
        del given["residual"]
    operands = OPERANDS.get(name, ())
    order = dict.fromkeys((*operands, *WRITTEN[name], *given))
    seen: set[tuple[int, int]] = set()
    found = Bytes()
    for parameter in order:
        for tensor in tensors_in((given[parameter],)):
            place = (tensor.untyped_storage()._cdata, int(tensor.storage_offset()))
            if place in seen:
                continue
            seen.add(place)
            size = size_of(tensor)
            if parameter in WRITTEN[name]:
                found.written += size
            else:
                found.read += size
            found.operands += size if parameter in operands else 0
    return found


def traffic(launches: list[Launch], samples: int) -> dict[str, dict[str, float]]:
    """Returns ``kernel -> {"read", "written", "moved", "operands"}``, bytes per sample, of the kernels of
    ``WRITTEN`` among some launches."""
    result: dict[str, dict[str, float]] = {}
    for launch in launches:
        if launch.kernel.__name__ not in WRITTEN:
            continue
        found = bytes_of(launch)
        row = result.setdefault(
            launch.kernel.__name__, dict.fromkeys(("read", "written", "moved", "operands"), 0.0)
        )
        for key in ("read", "written", "operands"):
            row[key] += getattr(found, key) / samples
        row["moved"] = row["read"] + row["written"]
    return result


def skip(launch: Launch) -> bool:
    """Writes zeros in place of the results of a launch, if its kernel is in ``WRITTEN``; returns whether it
    is."""
    name = launch.kernel.__name__
    if name not in WRITTEN:
        return False
    read = {"a", "b", "source", "residual"}
    given = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
    inputs = {t.untyped_storage()._cdata for p in read & given.keys() for t in tensors_in((given[p],))}
    for parameter in WRITTEN[name]:
        tensor: Tensor = given[parameter]
        if tensor.untyped_storage()._cdata not in inputs:
            tensor.zero_()
    return True
