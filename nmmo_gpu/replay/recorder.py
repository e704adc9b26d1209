"""Records realms during play, without blocking the device or the player."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.env import Env
from nmmo_gpu.errors import NmmoError, ReplayError, warn
from nmmo_gpu.replay.columns import FrameLayout, PolicyTrace
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.segment_writer import SegmentWriter
from nmmo_gpu.world.actions import StepActions

HOST_BUFFERS = 4
"""Maximum number of rollouts that wait for the disk."""
MIB = 1 << 20


class _HostBuffer(NamedTuple):
    """A buffer on the host for one rollout; pinned if the source is a GPU."""

    frames: Tensor
    """[T, k, bytes] uint8."""
    ticks: Tensor
    """[T] int64: tick numbers."""
    arrived: torch.cuda.Event | None


class Recorder:
    """Copies k realms of an environment, tick by tick, into a buffer on its device. Once per rollout, this
    buffer is copied into one of a ring of buffers on the host, from which a thread writes files.

    While every buffer of the ring waits for the disk, whole rollouts are dropped (the files have a gap
    there); with ``blocking`` it waits instead."""

    @torch.inference_mode(False)
    def __init__(
        self,
        env: Env,
        realms: Sequence[int],
        ticks: int,
        folder: Path,
        title: str,
        heads: dict[str, int] | None = None,
        limit: int = 1000 * MIB,
        blocking: bool = False,
        run_id: str = "",
    ) -> None:
        """Allocates the buffers; files are created with the first frame.

        Args:
            realms: global realm numbers; those that ``env`` does not play are ignored.
            ticks: T, ticks of a rollout. folder: of the files. title: for display.
            heads: choices of each head, if ``capture`` gets a ``PolicyTrace``.
            limit: maximum size of a realm's files in bytes.
            blocking: wait for the disk, and raise its errors; otherwise they are warned of once, and nothing
                more is recorded.
            run_id: as for ``SegmentWriter``."""
        config, world = env.config, env.world
        mine = [realm for realm in realms if 0 <= realm - config.first_realm < config.realms]
        self.realms = torch.tensor(
            [r - config.first_realm for r in mine], dtype=torch.int64, device="cpu"
        ).to(env.device)
        """[k] int64: the recorded realms of ``env``, counted from its first."""
        self.layout = FrameLayout(config.world, sum((heads or {}).values()))
        self.env, self.blocking, self.dropped = env, blocking, 0
        self.frames = torch.zeros(ticks, len(mine), self.layout.bytes, dtype=torch.uint8, device=env.device)
        """[T, k, bytes] uint8."""
        self.ticks = torch.zeros(ticks, dtype=torch.int64, device=env.device)
        """[T] int64: number of each tick."""
        self._segment_writers = []
        for number, realm in zip(mine, self.realms.tolist(), strict=True):
            base = world.base[realm].cpu().numpy()
            file_header = header(config, number, f"{title}, realm {number}", heads)
            self._segment_writers.append(SegmentWriter(folder, file_header, base, limit, run_id))
        self._error: NmmoError | None = None
        self._warned = False
        self._free: queue.Queue[_HostBuffer] = queue.Queue()
        for _ in range(HOST_BUFFERS if mine else 0):
            self._free.put(self._host_buffer())
        self._full: queue.Queue[tuple[_HostBuffer, int] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        if mine:
            self._thread.start()

    def _host_buffer(self) -> _HostBuffer:
        on_gpu = self.env.device.type == "cuda"
        frames, ticks = (
            torch.empty(t.shape, dtype=t.dtype, pin_memory=on_gpu, device="cpu")
            for t in (self.frames, self.ticks)
        )
        arrived = torch.cuda.Event(blocking=True) if on_gpu else None  # type: ignore[no-untyped-call]
        return _HostBuffer(frames, ticks, arrived)

    def capture(self, t: int, step_actions: StepActions, policy_trace: PolicyTrace | None = None) -> None:
        """Copies the realms' current state and observation, after a tick, as the rollout's t-th frame. Can be
        part of a CUDA graph."""
        if len(self.realms):
            env = self.env
            self.layout.write(self.frames[t], env.world, self.realms, step_actions, policy_trace, env.records)
            self.ticks[t : t + 1].copy_(env.world.tick)

    def flush(self, ticks: int | None = None) -> None:
        """Passes the rollout's frames (the first ``ticks``; by default all) to the writer. Work that is
        queued on the device afterwards may overwrite the buffer."""
        if not len(self.realms) or self._failed():
            return
        try:
            slot = self._free.get(block=self.blocking)
        except queue.Empty:
            self.dropped += 1
            return
        slot.frames.copy_(self.frames, non_blocking=True)
        slot.ticks.copy_(self.ticks, non_blocking=True)
        if slot.arrived is not None:
            slot.arrived.record()
        self._full.put((slot, len(self.frames) if ticks is None else ticks))

    def _failed(self) -> bool:
        """Whether the writer has failed. With ``blocking`` it raises the error, otherwise it warns once."""
        if self._error is None:
            return False
        if self.blocking:
            raise self._error
        if not self._warned:
            self._warned = True
            warn(f"nothing more is recorded: {self._error}")
        return True

    def _write(self) -> None:
        """The thread: writes frames to files until it is stopped. Others wait for it, so nothing ends it."""
        while (work := self._full.get()) is not None:
            slot, ticks = work
            try:
                if self._error is None:
                    self._write_slot(slot, ticks)
            except Exception as error:
                self._error = _as_replay_error(error)
            self._free.put(slot)
            self._full.task_done()

    def _write_slot(self, slot: _HostBuffer, ticks: int) -> None:
        if slot.arrived is not None:
            slot.arrived.synchronize()
        first, frames = int(slot.ticks[0]), slot.frames[:ticks].numpy()
        for k, segment_writer in enumerate(self._segment_writers):
            segment_writer.frames(first, np.ascontiguousarray(frames[:, k]))

    def wait(self) -> None:
        """Waits until all frames passed to the writer are in the files."""
        self._full.join()
        self._failed()

    def close(self) -> None:
        """Waits until everything is written, and closes the files."""
        if self._thread.is_alive():
            self._full.put(None)
            self._thread.join()
        for segment_writer in self._segment_writers:
            try:
                segment_writer.close()
            except Exception as error:
                self._error = self._error or _as_replay_error(error)
        self._failed()


def _as_replay_error(error: Exception) -> NmmoError:
    """The error itself if it is one of this package, otherwise a ReplayError that names it."""
    if isinstance(error, NmmoError):
        return error
    wrapped = ReplayError(f"the recording failed ({type(error).__name__}: {error}).")
    wrapped.__cause__ = error
    return wrapped
