"""Every launch that environment and trainer make, noted without a GPU."""

from __future__ import annotations

import torch

from nmmo_gpu import config as configs
from nmmo_gpu.config import WorldConfig
from nmmo_gpu.kernels import PHASES
from nmmo_gpu.kernels.launch import Launch, recording
from nmmo_gpu.world import tick
from nmmo_gpu.world.genesis import empty_world
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.rules import Rules

SETTINGS = {
    "chaos": configs.preset("chaos"),
    "chaos, slots kept full": configs.preset("chaos", births=-1),
    "law": configs.preset("law"),
    "one realm of many blocks": configs.preset("chaos", height=256, width=256, slots=1024),
    "a far view, a long table": configs.preset("chaos", border=15, vision=15, nearest=64),
}
"""Rules under which launches differ: constants, blocks per realm, lengths of tables."""


def all_launches() -> dict[str, list[Launch]]:
    """By the name of the setting, in the order in which they are made."""
    return {name: _of_world(rules) for name, rules in SETTINGS.items()}


def _of_world(config: WorldConfig) -> list[Launch]:
    rules = Rules(name="triton", **PHASES)  # type: ignore[arg-type]
    maps = torch.zeros(2, config.height, config.width, dtype=torch.uint8)
    world = empty_world(config, maps, seed=0)
    records = ObservationLayout(config).allocate(*world.alive.shape, device="cpu")
    seen = torch.full((*world.alive.shape, config.nearest), -1, dtype=torch.int32)
    actions = torch.zeros(*world.alive.shape, 3, dtype=torch.int64)
    slot = torch.arange(config.slots)
    with recording() as launches:
        for kind in (torch.int64, torch.int16):
            orders = rules.decode(actions.to(kind), seen)
        tick.step(world, rules, *orders)
        for phase in ("movement", "regrowth", "upkeep", "explore", "burial"):
            getattr(rules, phase)(world, *(orders[:1] if phase == "movement" else ()))
        rules.combat(world, *orders[1:])
        rules.observe(world, records, seen)
        rules.draw(world.seed, world.tick, Stream.RANDOM_ACTION, slot, slot)
    return launches
