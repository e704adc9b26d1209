"""Worlds in forked processes."""

from __future__ import annotations

import os
from functools import cache

import torch


@cache
def allow_forks() -> None:
    """Makes torch use one thread in all processes that are forked from this one, as PyTorch's DataLoader does
    in its workers.

    A forked process has none of its parent's threads. After a parent has computed with several, torch would
    wait for them forever in the child's first large operation, as GNU's OpenMP does not support forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
