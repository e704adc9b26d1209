"""CUDA graphs: launch a long sequence of small kernels at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from nmmo_gpu.errors import UsageError

WARM_UP = 2
"""Ordinary calls before the capture: these compile kernels, create optimizer state and fill caches."""


class GraphedCallable:
    """A function that works on fixed tensors in place, replayed as a CUDA graph from its third call on.

    On a CPU, or if ``allowed`` is false, every call is an ordinary call of the function. The function must
    return newly allocated tensors, which each replay overwrites. Its side effects on the host happen in the
    first three calls only."""

    def __init__(
        self,
        function: Callable[[], Any],
        device: torch.device,
        allowed: bool,
        memory: Any = None,
        warm: bool = False,
    ) -> None:
        """Wraps a function without calling it.

        Args:
            function: the function to wrap.
            device: where it runs.
            allowed: whether graphs may be used; the function must not synchronize with the device.
            memory: a pool from ``torch.cuda.graph_pool_handle``, shared with other functions that are called
                one at a time and whose results are used before the next call; None for a private pool.
            warm: whether a nearly identical function has been called before, so that one ordinary call
                before the capture is enough.
        """
        self.function, self.device, self.memory = function, device, memory
        self.allowed = allowed and device.type == "cuda"
        self.calls = 1 if warm else 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Any = None

    def __call__(self) -> Any:
        """Calls the function, or replays its graph, and returns the result."""
        if not self.allowed:
            return self.function()
        if self.calls < WARM_UP:
            self.calls += 1
            return self._on_side_stream()
        if self.graph is None:
            # A capture does not run anything; the replay below does the work of this call.
            graph = torch.cuda.CUDAGraph()
            try:
                # Other threads, such as the one that writes recordings, may call CUDA during the capture.
                with (
                    torch.cuda.device(self.device),
                    torch.cuda.graph(graph, pool=self.memory, capture_error_mode="thread_local"),
                ):
                    self.result = self.function()
            except RuntimeError as error:
                raise UsageError(
                    f"this cannot be captured in a CUDA graph ({str(error).splitlines()[0]}); if a custom "
                    "class reads values from the device, train with --no-graphs."
                ) from error
            self.graph = graph
        self.graph.replay()
        return self.result

    def _on_side_stream(self) -> Any:
        """Calls the function on a side stream, which autograd requires before a capture."""
        current, side = torch.cuda.current_stream(self.device), _side_stream(self.device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            result = self.function()
        current.wait_stream(side)
        return result


def weakly(method: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Wraps a bound method, called with these arguments, so that it does not keep its object alive.

    Meant for a ``GraphedCallable`` that is an attribute of the same object. In a reference cycle, a graph and
    its memory would stay until Python's garbage collector runs, which does not account for GPU memory."""
    reference = weakref.WeakMethod(method)
    name = method.__qualname__

    def call() -> Any:
        bound = reference()
        if bound is None:
            raise UsageError(
                f"the object of {name} no longer exists; keep a reference to it while this is in use."
            )
        return bound(*arguments)

    return call


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One stream for all warm-ups, because torch reuses cached memory only within a stream."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream
