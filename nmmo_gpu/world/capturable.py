"""Checks on any machine that the methods of systems can be captured in a CUDA graph.

They run on the meta device, whose tensors have no values. There, every operation fails that needs a value or
a shape that depends on values, which on a GPU would wait for the device."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world import tick
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.memory import META, meta_world
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.rewards import Rewards
from nmmo_gpu.world.system_observation import observe_systems

OWN, TORCH = str(Path(__file__).parents[1]), str(Path(torch.__file__).parent)


def check_capturable(config: EnvConfig) -> None:
    """Raises ConfigError, with the file and line, if a phase, an observation, a reward or a scalar of the
    config's systems, or its reward function, would wait for a GPU. No system runs on a real world."""
    if not config.world.systems and isinstance(config.reward, str):
        return
    config_of_one = EnvConfig(world=config.world, realms=1, seed=config.seed, reward=config.reward)
    world = meta_world(config_of_one)
    world.static_shapes = True
    layout = ObservationLayout(config.world)
    records = layout.allocate(1, config.world.slots, device=META)
    seen = torch.zeros(1, config.world.slots, config.world.nearest, dtype=torch.int32, device=META)
    actions = {name: torch.zeros_like(world.agents(world.age)) for name in action_heads(config.world)}
    reward = torch.zeros(1, config.world.slots, dtype=torch.float32, device=META)

    def play() -> None:
        for call in tick.calls(config.world, Backend()):
            if not call.stock:
                call.run(world, *(actions[name] for name in call.takes))
        observe_systems(world, records, layout.views(records), seen, layout)
        rewards.add(world, world.agents(world.alive), reward)
        for system in config.world.systems:
            system.scalars(world)

    with _located():
        rewards = Rewards(config_of_one, world)
        play()
        with _NoCopies():
            play()


class _CopyError(RuntimeError):
    pass


class _NoCopies(TorchFunctionMode):
    """Refuses tensors made of Python numbers, which are copied to the device. The first calls may make them,
    and keep them in a cache."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = torch.device((kwargs or {}).get("device") or "cpu")
        if function in (torch.tensor, torch.as_tensor, torch.asarray) and device.type != "cpu":
            raise _CopyError(
                f"torch.{function.__name__}() copies from the host in each tick; make the tensor once, and "
                "keep it"
            )
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def _located() -> Iterator[None]:
    """Turns an error in a user's line into a ConfigError that names it."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if "meta" not in str(error).lower() and not isinstance(error, _CopyError):
            raise  # an error of another kind, with its own message
        lines = [f for f in frames if not f.filename.startswith((OWN, TORCH))]
        if not lines:
            raise
        cause = str(error).strip().splitlines() or [type(error).__name__]
        place = f"{lines[-1].filename}, line {lines[-1].lineno}: `{lines[-1].line}`"
        if "not on the expected device" in cause[0]:
            raise ConfigError(f"{place} makes a tensor on the CPU; give device=world.device.") from error
        raise ConfigError(
            f"{place} cannot be captured in a CUDA graph, because it needs values of the device "
            f"({cause[0][:200]}). Use operations of fixed shapes, such as torch.where and masked_fill "
            "instead of boolean indices and `if`; or train with graphs=False (--no-graphs)."
        ) from error
