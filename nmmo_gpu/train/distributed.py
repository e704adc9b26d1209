"""The processes of a run started by torchrun. A process started in another way is the only one of its run.

Each process plays its share of the realms, and all learn the same weights: reduced values are equal on all
processes, bit for bit. NCCL reduces tensors on a GPU, gloo those on a CPU."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.errors import ConfigError

TIMEOUT = timedelta(minutes=10)
"""A process that is late by this much counts as lost; a process that has died is noticed at once."""


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """A context in which this process is in a process group with the others that torchrun started.

    Each process of a machine uses one of its GPUs, if there are any."""
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield
        return
    if on_gpu := torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # torchrun gives the same store to the processes that it restarts (pytorch#167288). On one machine, the
    # restart count separates new entries from those of the lost processes.
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"] if os.environ["GROUP_WORLD_SIZE"] == "1" else "0"
    store, number, processes = next(rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT, rank=number, world_size=processes,
        store=PrefixStore(f"attempt {attempt}", store),
    )  # fmt: skip
    try:
        yield
        barrier()  # no process closes a connection that another still needs
    finally:
        dist.destroy_process_group()
        # Processes that exited right away were occasionally aborted, apparently by a gloo thread that needed
        # the interpreter during its shutdown. The delay lets such a thread end first.
        time.sleep(0.5)


def restarted() -> bool:
    """Whether torchrun has restarted this run because a process was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


_alone = False


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """A context in which this process counts as the only one, for what it does without the others."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def rank() -> int:
    """Returns the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() and not _alone else 0


def size() -> int:
    """Returns the number of processes."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def shards(realms: int, processes: int) -> list[tuple[int, int]]:
    """Returns (first realm, number of realms) of each process; the numbers differ by at most one."""
    edges = [realms * k // processes for k in range(processes + 1)]
    return [(low, high - low) for low, high in itertools.pairwise(edges)]


def shard(config: EnvConfig) -> EnvConfig:
    """Returns the config of this process's realms of a run.

    Raises ConfigError if there are fewer realms than processes."""
    if size() == 1:
        return config
    if config.realms < size():
        raise ConfigError(
            f"realms = {config.realms}, fewer than the {size()} processes; increase realms or start fewer "
            "processes."
        )
    first, count = shards(config.realms, size())[rank()]
    return dataclasses.replace(config, realms=count, first_realm=config.first_realm + first)


def all_reduce_sum(tensors: Iterable[Tensor]) -> None:
    """Replaces each tensor by its sum over all processes, in one all-reduce per dtype and device."""
    if size() == 1:
        return
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for group in groups.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        _reduce(flat, dist.ReduceOp.SUM)
        for tensor, total in zip(group, torch.split(flat, [t.numel() for t in group]), strict=True):
            tensor.copy_(total.view_as(tensor))


def all_reduce_max(*values: float) -> list[float]:
    """Returns the maximum of each value over all processes; works on the hosts, waits for no device."""
    if size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device="cpu")
    _reduce(tensor, dist.ReduceOp.MAX)
    return tensor.tolist()


def broadcast(text: str) -> str:
    """Returns the first process's text in all processes."""
    if size() == 1:
        return text
    texts = [text]
    dist.broadcast_object_list(texts, device=torch.device("cpu"))
    return texts[0]


def _reduce(tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> None:
    dist.all_reduce(tensor, operation)
    # If gloo's thread held the last reference, it would need the interpreter, which may have ended by then.
    _newest[:] = [tensor]


_newest: list[Tensor] = []
"""The tensor reduced last, kept until the next reduction or the end of the process group."""


def barrier() -> None:
    """Waits until all processes have called this function."""
    all_reduce_max(0.0)
