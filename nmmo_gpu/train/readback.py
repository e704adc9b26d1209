"""Numbers on their way from the device to the host, without making the device wait."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor


class HostCopy(NamedTuple):
    """What was sent, and what it was sent with."""

    tensors: dict[str, Tensor]
    """On the CPU."""
    tag: Any


class Readback:
    """Copies arrive one call later on a GPU, when the next piece of work is already queued, and at once on a
    CPU. Two pinned buffers are written in turn."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self._pinned: list[dict[str, Tensor]] = [{}, {}]
        self._under_way: tuple[HostCopy, torch.cuda.Event] | None = None

    def send(self, tensors: dict[str, Tensor], tag: Any) -> list[HostCopy]:
        """Sends tensors on the device (copied as they are when the device comes to it); returns what has
        arrived: this copy, or the one before it, or nothing."""
        if not self.on_gpu:
            return [HostCopy({name: tensor.clone() for name, tensor in tensors.items()}, tag)]
        self._pinned.reverse()
        buffers = self._pinned[0]
        for name, tensor in tensors.items():
            if name not in buffers:
                buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            buffers[name].copy_(tensor, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        host_copies = self.receive()
        self._under_way = HostCopy(dict(buffers), tag), arrived
        return host_copies

    def receive(self) -> list[HostCopy]:
        """Waits for the copy under way, if there is one."""
        if self._under_way is None:
            return []
        host_copy, arrived = self._under_way
        arrived.synchronize()
        self._under_way = None
        return [host_copy]


Timestamp = float | torch.cuda.Event
"""A moment: seconds on the host's clock, or an event among the device's work."""


def timestamp(device: torch.device) -> Timestamp:
    """Now, as the device counts."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def seconds_between(start: Timestamp, end: Timestamp) -> float:
    """Seconds from one stamp to another; events must have happened."""
    if isinstance(start, float) or isinstance(end, float):
        assert isinstance(start, float) and isinstance(end, float)
        return end - start
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1000
