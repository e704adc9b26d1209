"""Asynchronous copies from the device to the host, and timestamps of the device's work."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor


class HostCopy(NamedTuple):
    """Tensors copied to the host, with the tag passed to ``Readback.send``."""

    tensors: dict[str, Tensor]
    """Tensors on the CPU."""
    tag: Any


class Readback:
    """Copies tensors to the host without making the device wait.

    On a GPU, a copy is returned one call later, when the next work is already queued; on a CPU, at once. Two
    sets of pinned buffers alternate."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self._pinned: list[dict[str, Tensor]] = [{}, {}]
        self._pending: tuple[HostCopy, torch.cuda.Event] | None = None

    def send(self, tensors: dict[str, Tensor], tag: Any) -> list[HostCopy]:
        """Queues a copy of device tensors; returns the completed copies.

        On a GPU, this is the copy of the previous call, if any; on a CPU, that of this call.

        Args:
            tensors: tensors by name.
            tag: returned with the copy."""
        if not self.on_gpu:
            return [HostCopy({name: tensor.clone() for name, tensor in tensors.items()}, tag)]
        self._pinned.reverse()
        buffers = self._pinned[0]
        for name, tensor in tensors.items():
            if name not in buffers:
                buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True, device="cpu")
            buffers[name].copy_(tensor, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        host_copies = self.receive()
        self._pending = HostCopy(dict(buffers), tag), arrived
        return host_copies

    def receive(self) -> list[HostCopy]:
        """Waits for the pending copy and returns it, if there is one."""
        if self._pending is None:
            return []
        host_copy, arrived = self._pending
        arrived.synchronize()
        self._pending = None
        return [host_copy]


Timestamp = float | torch.cuda.Event
"""A point in time: seconds of the host's clock, or an event in the device's stream."""


def timestamp(device: torch.device) -> Timestamp:
    """Returns the current time on a CPU; records an event on a GPU."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def seconds_between(start: Timestamp, end: Timestamp) -> float:
    """Returns the seconds between two timestamps; events must have completed."""
    if isinstance(start, float) or isinstance(end, float):
        assert isinstance(start, float) and isinstance(end, float)
        return end - start
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1000
