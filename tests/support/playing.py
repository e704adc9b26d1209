"""Playing of environments that were copied or sent to other processes."""

from __future__ import annotations

import os
import pickle
import select
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

from support.forks import end_with
from torch import Tensor

from nmmo_gpu.env import Env, random_actions


def digest_after(env: Env, ticks: int = 3) -> str:
    """Plays random actions; returns the digest of the world."""
    for _ in range(ticks):
        env.step(random_actions(env))
    return env.world.digest()


def send_digest(env: Env, channel: Connection) -> None:
    """The target of a process: sends ``digest_after``."""
    channel.send(digest_after(env))


def in_a_fork(work: Callable[[], str | Tensor], seconds: float = 60.0) -> str | Tensor:
    """Returns the result of work that is done in a fork of this process; fails if it takes too long."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        end_with(lambda: os.write(write, pickle.dumps(work())) and None)
    os.close(write)
    try:
        ready, _, _ = select.select([read], [], [], seconds)
        assert ready, f"the forked process is not done after {seconds} s"
        sent = os.read(read, 1 << 16)
        assert sent, "the forked process failed"
        return pickle.loads(sent)
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
