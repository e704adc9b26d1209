"""Plays and records a world with a scripted, random or trained policy."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nmmo_gpu import scripted
from nmmo_gpu.config import EnvConfig
from nmmo_gpu.config.bounds import checked
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.replay.columns import FrameLayout
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.replay.writer import ReplayWriter
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.evaluate import Actor, playing_backend
from nmmo_gpu.train.trained_policy import TrainedPolicy, check_rules, load_policy
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.train.value_map import value_payload
from nmmo_gpu.world.actions import StepActions
from nmmo_gpu.world.state import World


def begin(config: EnvConfig, policy: str, sword: type[Sword] = Sword) -> tuple[Env, Actor]:
    """Creates an environment and its actor.

    Args:
        config: the world.
        policy: one of ``scripted.POLICIES``, or the folder of a run.
        sword: for a run, as for ``TrainedPolicy``.

    Raises CheckpointError if there is no such run or it names other classes, ConfigError if it was trained
    with other rules."""
    if policy in scripted.POLICIES:
        env = Env(config)
        env.reset()
        return env, scripted.actor(policy)(env)
    trained = load_policy(policy, sword)
    check_rules(trained.config.env.world, config.world)
    env = Env(config)
    env.reset()
    return env, trained


def continue_realm(
    stored: Checkpoint, realm: int, device: torch.device, sword: type[Sword] = Sword
) -> tuple[Env, TrainedPolicy]:
    """Continues one realm of a checkpoint with the checkpoint's policies, as in the run but without learning.

    Args:
        stored: the checkpoint.
        realm: number of the realm.
        device: where to play.
        sword: as for ``TrainedPolicy``.

    Raises ConfigError if the realm does not exist, CheckpointError as ``TrainedPolicy`` does."""
    whole, realm = stored.config.env, checked("realm", realm, int)
    if not 0 <= realm < whole.realms:
        raise ConfigError(f"realm = {realm} does not exist; choose from 0 to {whole.realms - 1}.")
    world = checkpoints.load_world(stored, device)
    tensors = {
        name: (tensor if name in ("seed", "tick") else tensor[realm : realm + 1]).clone()
        for name, tensor in world.tensors()
    }
    tensors["seed"][1] += realm
    config = dataclasses.replace(
        whole, realms=1, first_realm=whole.first_realm + realm, maps=(), device=str(device),
        backend=playing_backend(whole.backend),
    )  # fmt: skip
    env = Env(config, World.of(whole.world, tensors))
    policy = TrainedPolicy(stored, sword)
    state = stored.part("realms").get("state")
    if state is not None:
        slots = whole.world.slots
        policy.reset(env, state[realm * slots : (realm + 1) * slots].to(device))
    return env, policy


def save_moment(env: Env, path: Path, title: str) -> None:
    """Writes the current state of the first realm as a recording of one tick.

    Raises ReplayError if the file cannot be written."""
    layout = FrameLayout(env.config.world)
    frames = torch.zeros(1, layout.bytes, dtype=torch.uint8, device=env.device)
    no_target = torch.full((1, env.config.world.entities), -1, device=env.device, dtype=torch.int64)
    first = torch.zeros(1, dtype=torch.int64, device=env.device)
    step_actions = StepActions(torch.zeros_like(no_target), no_target)
    layout.write(frames, env.world, first, step_actions, records=env.records)
    file_header = header(env.config, env.config.first_realm, title)
    with ReplayWriter(path, file_header, env.world.base[0].cpu().numpy()) as writer:
        writer.frames(int(env.world.tick), frames.cpu().numpy())


def value_maps(stored: Checkpoint, env: Env, sword: type[Sword] = Sword) -> list[bytes]:
    """Returns payloads of ``HEAT`` chunks: a checkpoint's value maps on the current state of the first realm,
    for the mean of all populations (-1) and for each population.

    Args:
        stored: the checkpoint.
        env: the environment.
        sword: as for ``TrainedPolicy``."""
    base, material = (plane[0].cpu().numpy() for plane in (env.world.base, env.world.material))
    populations = range(-1, env.config.world.populations)
    return [value_payload(stored, base, material, p, env.device, sword) for p in populations]


def play(
    env: Env, act: Actor, recorder: Recorder, ticks: int | None, rate: float = 0.0,
    stopped: Callable[[], bool] = lambda: False, on_progress: Callable[[int], None] = lambda tick: None,
) -> None:  # fmt: skip
    """Plays and records ticks.

    Args:
        env: the environment, after its ``reset``.
        act: chooses the actions.
        recorder: writes the files, as many ticks at a time as its buffer holds.
        ticks: number of ticks to play; None to play until ``stopped`` returns True.
        rate: maximum number of ticks per second; 0 for no limit.
        stopped: called before every tick; True ends the loop.
        on_progress: called after every tick with the number of ticks played.
    """
    length, t, played = len(recorder.frames), 0, 0
    due = time.monotonic()
    while (ticks is None or played < ticks) and not stopped():
        actions = act(env)
        policy_trace = act.policy_trace(env, recorder.realms) if isinstance(act, TrainedPolicy) else None
        env.step(actions)
        assert env.step_actions is not None
        recorder.capture(t, env.step_actions, policy_trace)
        t, played = t + 1, played + 1
        if t == length:
            recorder.flush()
            t = 0
        on_progress(played)
        if rate > 0:
            due = max(due + 1 / rate, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    if t:
        recorder.flush(t)


def recorded_heads(act: Actor) -> dict[str, int] | None:
    """Returns the heads of a policy, for ``Recorder``; None if the actor is not a policy."""
    return act.heads if isinstance(act, TrainedPolicy) else None
