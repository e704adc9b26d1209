"""A recording of tensor operations and kernel launches that can be replayed on the same tensors without the
Python code around them, as a CUDA graph can, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from nmmo_gpu.kernels import launch as launching

ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")
"""Parts of the names of operations that make the host wait for the device."""


class Tape(TorchDispatchMode):
    """Records the operations inside its context; ``replay`` runs them again."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[Any, Any, Any, Any]] = []
        self.launches = 0
        self.waits: list[str] = []

    def __enter__(self) -> Tape:
        self.diversion = launching.diverted(self._launch)
        self.diversion.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.diversion.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = str(function)
        if any(word in name for word in ASKING):
            self.waits.append(name)
        self.entries.append((function, args, kwargs or {}, result))
        return result

    def _launch(self, launch: launching.Launch) -> None:
        self.launches += 1
        self.entries.append((None, launch, None, None))
        run(launch)

    def replay(self) -> None:
        """Runs the recorded operations again; results are written to the tensors they were written to
        before."""
        with torch.no_grad():
            for function, args, kwargs, result in self.entries:
                if function is None:
                    run(args)
                    continue
                given = {storage(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
                again = function(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and storage(old) not in given:
                        old.copy_(new)


def record_iteration(run: Any) -> tuple[Tape, Tape]:
    """Records a rollout and the only update of a run that has iterated before; checks that neither waits for
    the device."""
    collect, learn = Tape(), Tape()
    with collect:
        run.god._play(run.god.columns)  # what is captured of collect()
    (update,) = run.pantheon.updates.values()
    with learn:
        update()
    assert collect.waits == learn.waits == [], "the host would wait for the device"
    return collect, learn


def storage(tensor: Tensor) -> int:
    """Returns the address of a tensor's data."""
    return tensor.untyped_storage().data_ptr()


def run(launch: launching.Launch) -> None:
    """Runs a kernel without recording it."""
    before, launching._instead = launching._instead, None
    try:
        with _disable_current_modes():
            launching.launch(
                launch.kernel, launch.programs, *launch.arguments, warps=launch.warps, **launch.constants
            )
    finally:
        launching._instead = before
