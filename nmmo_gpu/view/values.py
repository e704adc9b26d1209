"""Value maps of a run's newest checkpoint, computed on request."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.train.value_map import value_payload

KEPT = 64
"""Maximum number of cached maps, of at most about 25 KB each."""

IRRELEVANT = {
    "slots", "births", "spawn", "regrowth", "npc_numbers", "npc_births", "wander", "ore_regrowth",
}  # fmt: skip
"""Fields of WorldConfig that may differ between recording and checkpoint: a newborn agent that is alone does
not observe them."""


class Values:
    """Value maps by recording and population; one is computed at a time."""

    def __init__(self, checkpoint: Path, sword: type[Sword] = Sword) -> None:
        """Computes nothing yet.

        Args:
            checkpoint: the file, which may not exist and may change at any time.
            sword: as for ``nmmo_gpu.train.trained_policy.TrainedPolicy``."""
        self.checkpoint, self.sword = checkpoint, sword
        self._lock = asyncio.Lock()
        self._kept: OrderedDict[tuple[int, Path, int], bytes] = OrderedDict()

    async def payload(self, recording: Path, population: int) -> bytes:
        """Payload of a ``HEAT`` chunk; NmmoError if there is no checkpoint, or it does not fit the recording
        or the Sword.

        Args:
            population: -1 for the mean over all."""
        async with self._lock:
            return await asyncio.to_thread(self._payload, recording, population)

    def _payload(self, recording: Path, population: int) -> bytes:
        try:
            written = self.checkpoint.stat().st_mtime_ns
        except OSError:
            raise ReplayError("This run has no checkpoint yet; a value map needs one.") from None
        key = (written, recording, population)
        if key not in self._kept:
            self._kept[key] = _computed(self.checkpoint, recording, population, self.sword)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _computed(checkpoint: Path, recording: Path, population: int, sword: type[Sword]) -> bytes:
    stored = checkpoints.load(checkpoint, torch.device("cpu"), policy_only=True)
    with Replay(recording, heats=False) as replay:
        base, config = replay.base, replay.header.get("config")
    trained: dict[str, Any] = json.loads(json.dumps(to_plain(stored.config.env.world)))
    recorded = config.get("world") if isinstance(config, dict) else None
    # Recordings of earlier versions do not name systems.
    recorded = {"systems": [], **recorded} if isinstance(recorded, dict) else {}
    other = [name for name in trained if name not in IRRELEVANT and trained[name] != recorded.get(name)]
    if other:
        raise ReplayError(
            f"The rules of the recording differ from those of the checkpoint ({', '.join(other)}); choose a "
            "recording of the same run."
        )
    return value_payload(stored, base, None, population, sword=sword)
