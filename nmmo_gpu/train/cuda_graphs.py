"""CUDA graphs: a long sequence of small kernels, launched at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from nmmo_gpu.errors import UsageError

WARM_UP = 2
"""Ordinary calls before the capture: kernels are compiled, optimizers make their state, caches fill."""


class GraphedCallable:
    """A function that works on fixed tensors in place, replayed as a CUDA graph from its third call on.

    On a CPU, and where it is not allowed, it is called as it is. What the function returns must be tensors
    that it makes anew (a replay writes over them), and whatever it does outside of the device it does at the
    first three calls only."""

    def __init__(
        self,
        function: Callable[[], Any],
        device: torch.device,
        allowed: bool,
        memory: Any = None,
        warm: bool = False,
    ) -> None:
        """A function that has not been called yet.

        Args:
            allowed: the function neither waits for the device nor asks it for sizes.
            memory: of ``torch.cuda.graph_pool_handle``, to be shared with other functions of which one is
                called at a time and whose results are used before the next; None for memory of its own.
            warm: another function has been called that did nearly the same, so that one ordinary call is
                enough before the capture.
        """
        self.function, self.device, self.memory = function, device, memory
        self.allowed = allowed and device.type == "cuda"
        self.calls = 1 if warm else 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Any = None

    def __call__(self) -> Any:
        """The function's result."""
        if not self.allowed:
            return self.function()
        if self.calls < WARM_UP:
            self.calls += 1
            return self._aside()
        if self.graph is None:
            # Capturing runs nothing; the replay below is this call's work.
            graph = torch.cuda.CUDAGraph()
            try:
                # Other threads, such as one that writes recordings, may go on calling CUDA meanwhile.
                with (
                    torch.cuda.device(self.device),
                    torch.cuda.graph(graph, pool=self.memory, capture_error_mode="thread_local"),
                ):
                    self.result = self.function()
            except RuntimeError as error:
                raise UsageError(
                    f"this cannot be captured in a CUDA graph ({str(error).splitlines()[0]}); if a class of "
                    "your own asks the device for values, train with --no-graphs."
                ) from error
            self.graph = graph
        self.graph.replay()
        return self.result

    def _aside(self) -> Any:
        """Calls the function on a stream of its own, as a capture will, and as autograd wants before one."""
        ordinary, aside = torch.cuda.current_stream(self.device), _stream_aside(self.device)
        aside.wait_stream(ordinary)
        with torch.cuda.stream(aside):
            result = self.function()
        ordinary.wait_stream(aside)
        return result


def weakly(method: Callable[[], Any]) -> Callable[[], Any]:
    """A bound method that does not keep its object alive, for a ``GraphedCallable`` that the object itself
    keeps.

    In a reference cycle a graph and its memory would stay until Python's garbage collector comes by, which
    knows nothing of the GPU's memory."""
    reference = weakref.WeakMethod(method)
    name = method.__qualname__

    def call() -> Any:
        bound = reference()
        if bound is None:
            raise UsageError(f"the object of {name} is gone; keep it for as long as this is called.")
        return bound()

    return call


@cache
def _stream_aside(device: torch.device) -> torch.cuda.Stream:
    """One for all warm-ups: memory that torch has cached for a stream serves that stream alone."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream
