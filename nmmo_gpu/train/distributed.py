"""The processes of one run, as torchrun starts them; a process that it did not start is alone.

Each process plays its share of the realms, and all learn the same weights: whatever is summed here is equal
on all of them, bit for bit. Tensors on a GPU are summed by NCCL, those on a CPU by gloo."""

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
"""A process that has not come by then is taken for lost; one that has died is noticed at once."""


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Inside, this process works together with the others that torchrun started, with one GPU for each on
    its machine."""
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield
        return
    if on_gpu := torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # torchrun lends the same store to the processes that it starts again (pytorch#167288). On one machine
    # the count of restarts tells what the lost ones have left there from what is new.
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"] if os.environ["GROUP_WORLD_SIZE"] == "1" else "0"
    store, number, processes = next(rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT, rank=number, world_size=processes,
        store=PrefixStore(f"attempt {attempt}", store),
    )  # fmt: skip
    try:
        yield
        barrier()  # nobody takes a connection away that another still needs
    finally:
        dist.destroy_process_group()
        # A process that ended at once was now and then aborted, as by a thread of gloo's that wanted the
        # interpreter while that was being taken down; this gives it the time to end first.
        time.sleep(0.5)


def restarted() -> bool:
    """Whether torchrun has begun this run before, and starts it again because a process was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def shards(realms: int, processes: int) -> list[tuple[int, int]]:
    """(first realm, number of realms) of each process; the numbers differ by one at most."""
    edges = [realms * k // processes for k in range(processes + 1)]
    return [(low, high - low) for low, high in itertools.pairwise(edges)]


def shard(config: EnvConfig) -> EnvConfig:
    """This process's part of the realms of a run; ConfigError if there are fewer realms than processes."""
    if size() == 1:
        return config
    if config.realms < size():
        raise ConfigError(
            f"realms = {config.realms}, fewer than the {size()} processes that share them; raise realms or "
            "start fewer processes."
        )
    first, count = shards(config.realms, size())[rank()]
    return dataclasses.replace(config, realms=count, first_realm=config.first_realm + first)


def all_reduce_sum(tensors: Iterable[Tensor]) -> None:
    """Replaces each tensor by its sum over all processes, in one message per dtype and device."""
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
    """The largest that any process has of each value; a question of the hosts, which waits for no device."""
    if size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    _reduce(tensor, dist.ReduceOp.MAX)
    return tensor.tolist()


def _reduce(tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> None:
    dist.all_reduce(tensor, operation)
    # gloo's thread may let go of it later than we, and would then need the interpreter, which may have ended.
    _newest[:] = [tensor]


_newest: list[Tensor] = []
"""What was reduced last, kept until the next or until the processes part."""


def barrier() -> None:
    """Returns when all processes have come here."""
    all_reduce_max(0.0)
