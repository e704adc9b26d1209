"""Lists every kernel launch of the environment and the trainer, without a GPU."""

from __future__ import annotations

import torch

from nmmo_gpu import config as configs
from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.env import Env
from nmmo_gpu.kernels.launch import Launch, diverted
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.run import Run
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.tick import step

WORLDS = {
    "chaos": configs.preset("chaos"),
    "slots kept full": configs.preset("chaos", births=-1),
    "law": configs.preset("law"),
    "many blocks": configs.preset("chaos", height=256, width=256, slots=1024, spawn="anywhere"),
    "far view, long table": configs.preset("chaos", border=15, vision=15, nearest=64),
    "full": configs.preset("full"),
    "full, many blocks": configs.preset("full", height=256, width=256, slots=1024, spawn="anywhere"),
    "full, flat combat": configs.preset("chaos", skills=True, npcs=True),
}
"""Rules that lead to different launches: constants, blocks per realm, lengths of tables."""

NETWORKS = {
    "laptop": PolicyConfig(),
    "laptop, learned targets": PolicyConfig(targeting="learned"),
    "gpu": train_preset("chaos", "gpu").policy,
}
"""Networks that lead to different launches."""


def all_launches() -> dict[str, list[Launch]]:
    """Returns ``setting -> launches``, in the order in which they are made."""
    found = {name: _of_world(config) for name, config in WORLDS.items()}
    found |= {name: _of_training(network) for name, network in NETWORKS.items()}
    long_table = WORLDS["far view, long table"]
    found |= {f"{name}, long table": _of_training(NETWORKS[name], long_table) for name in ("laptop", "gpu")}
    full = configs.preset("full")
    found["learning full"] = _of_training(train_preset("full", "gpu").policy, full)
    found["learning full, laptop"] = _of_training(PolicyConfig(), full)
    return found


def _of_world(config: WorldConfig) -> list[Launch]:
    """Returns the launches of ticks with choices of several integer dtypes, including their observations, and
    of each phase by itself."""
    launches: list[Launch] = []
    with diverted(launches.append):
        env = Env(EnvConfig(world=config, realms=2, device="cpu", backend="triton", check_actions=False))
        env.reset()
        world, phases = env.world, env.backend
        for kind in (torch.int64, torch.int16):
            choices = env.decode(
                torch.zeros(world.realms, config.slots, len(env.action_heads), dtype=kind, device="cpu")
            )
            step(world, phases, *choices)
        if not config.extended:  # in the full game, a tick already launches each phase separately
            phases.combat(world, choices.style, choices.target)
            phases.movement(world, choices.move)
            for phase in (phases.upkeep, phases.explore, phases.burial):
                phase(world)
        slot = torch.arange(config.slots, dtype=torch.int64, device="cpu")
        phases.draw(world.seed, world.tick, Stream.RANDOM_ACTION, slot, slot)
    return launches


def _of_training(network: PolicyConfig, config: WorldConfig = WORLDS["chaos"]) -> list[Launch]:
    """Returns the launches of a short training iteration."""
    ppo = PPOConfig(horizon=32, epochs=1, minibatches=2)
    launches: list[Launch] = []
    with diverted(launches.append):
        env = EnvConfig(world=config, realms=2, device="cpu", backend="triton", check_actions=False)
        run = Run(TrainConfig(env=env, policy=network, ppo=ppo))
        run.iterate()
        # A later rollout sorts its slots first, and repeats the launches of the first one.
        alive = run.god.env.world.agents(run.god.env.world.alive)
        run.sword.training_backend.living_first(alive, config.populations, run.god.columns)
    return launches
