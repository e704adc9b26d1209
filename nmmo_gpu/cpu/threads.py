"""Parallel execution of compiled loops, on as many threads as torch uses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch

LARGE = 1 << 12
"""Minimum number of slots of a realm that is divided among several threads."""


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="nmmo-cpu")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads; without this it would wait for them forever.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def parallel(function: Callable[..., None], tasks: list[tuple[Any, ...]]) -> None:
    """Calls ``function(*task)`` for each task, on as many threads as torch uses.

    The function must release the GIL (numba's ``nogil``), and no task may write what another task reads or
    writes. Then neither the number of threads nor their order affects the result."""
    workers = min(torch.get_num_threads(), len(tasks))
    if workers < 2:
        for task in tasks:
            function(*task)
        return
    futures = [_pool(workers).submit(function, *task) for task in tasks]
    for future in futures:
        future.result()


def slices(total: int, parts: int) -> list[tuple[int, int]]:
    """Divides [0, total) into at most ``parts`` ranges of nearly equal length, none of them empty."""
    parts = max(1, min(parts, total))
    edges = [total * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(edges))


def _parts(minimum: int = 1) -> int:
    """Returns into how many ranges to divide: a few per thread, because they differ in work; one for a single
    thread, because every call of a loop costs microseconds."""
    threads = torch.get_num_threads()
    return 1 if threads == 1 else max(minimum, 2 * threads)


def chunks(total: int, min_length: int) -> list[tuple[int, int]]:
    """Divides [0, total) for ``parallel``, into ranges of at least ``min_length`` elements."""
    return slices(total, min(_parts(8), total // min_length))


def realm_slices(realms: int) -> list[tuple[int, int]]:
    """Divides the realms for ``parallel``."""
    return slices(realms, _parts())


def shared(realms: int, slots: int) -> bool:
    """Returns whether threads share realms of ``slots`` slots, because there are few and large realms."""
    return slots >= LARGE and realms < 4 * torch.get_num_threads()


def cut(realms: int, slots: int, length: int) -> list[tuple[int, int]]:
    """Divides [0, realms * length) for ``parallel``, where a realm of ``slots`` slots has ``length``
    elements: between realms, or anywhere if threads share realms."""
    if shared(realms, slots):
        return slices(realms * length, _parts())
    return [(low * length, high * length) for low, high in realm_slices(realms)]
