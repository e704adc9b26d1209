"""Worlds in forked and in spawned processes."""

from __future__ import annotations

import os
import pickle
from functools import cache
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch


@cache
def allow_forks() -> None:
    """Makes torch use one thread in all processes that are forked from this one, as PyTorch's DataLoader does
    in its workers.

    A forked process has none of its parent's threads. After a parent has computed with several, torch would
    wait for them forever in the child's first large operation, as GNU's OpenMP does not support forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class SentByValue:
    """Base of objects that ``multiprocessing`` copies to another process.

    torch shares the memory of tensors that are sent, so both processes would step the same world."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ForkingPickler.register(cls, _by_value)


def _by_value(thing: object) -> tuple[Any, ...]:
    return pickle.loads, (pickle.dumps(thing),)
