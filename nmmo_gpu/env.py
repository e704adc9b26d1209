"""The tensor-native environment of persistent worlds."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu import config as configs
from nmmo_gpu.config import EnvConfig, RewardFunction, WorldConfig
from nmmo_gpu.config.systems import STOCK_HEADS
from nmmo_gpu.errors import ActionError, UsageError, WorldError
from nmmo_gpu.world import tick
from nmmo_gpu.world.actions import Choices, StepActions, action_heads, choices, row_of, side_of
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.ledger import book_difference
from nmmo_gpu.world.memory import check_memory, environment_parts
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import STYLES, ObservationLayout
from nmmo_gpu.world.processes import SentByValue, allow_forks
from nmmo_gpu.world.random import SLOT_BITS, Stream, below
from nmmo_gpu.world.reset import empty_world, realm_maps
from nmmo_gpu.world.rewards import Rewards
from nmmo_gpu.world.state import World
from nmmo_gpu.world.system_observation import observe_systems

Observation = dict[str, Tensor]
Step = tuple[Observation, Tensor, Tensor, Tensor, dict[str, Tensor]]

INTEGERS = {
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8,
}  # fmt: skip
"""Dtypes of actions."""


class Env(SentByValue):
    """R realms of A slots, stepped together on one device.

    Everything that lasts longer than a tick is made outside torch's inference mode. Therefore an environment
    can be made inside of it and stepped outside, and the reverse, without a context in each step.

    There are no global episodes. An agent's death is its ``terminated``; the slot's next agent is a different
    one, with a new id. ``truncated`` is always False.
    """

    @torch.inference_mode(False)
    def __init__(self, config: EnvConfig, world: World | None = None) -> None:
        """Makes the terrain; the world has no agents before ``reset``.

        Args:
            config: the batch of realms.
            world: a world from a checkpoint, already begun, to continue; None for a new world.

        Raises WorldError if ``config.check`` is set and ``world`` breaks an invariant.
        """
        self.config = config
        self.device = resolve_device(config.device)
        if self.device.type == "cpu":
            allow_forks()
        self.layout = ObservationLayout(config.world)
        self.begun = world is not None
        backend = resolve(config.backend, self.device)
        if world is None:
            check_memory(environment_parts(config), self.device, "realms, slots, height or width")
            maps = realm_maps(config, self.device, backend.terrain)
            world = empty_world(config.world, maps, config.seed, config.first_realm)
        elif any(tensor.is_inference() for _, tensor in world.tensors()):
            world = world.clone()  # could not be written outside of inference mode
        world.static_shapes = self.device.type != "cpu"
        self.world = world
        self.backend = backend
        tick.calls(config.world, self.backend)  # raises ConfigError for phases of systems that do not fit

        shape = (config.realms, config.world.slots)
        self.action_heads = action_heads(config.world)
        """``name -> number of choices``, in the order of an action's columns."""
        self.action_sizes = tuple(self.action_heads.values())
        """Number of choices of each head."""
        self._limit = torch.tensor(self.action_sizes, device=self.device, dtype=torch.int64)
        self._check = config.check_actions
        if self._check is None:
            self._check = self.device.type == "cpu"
        # Two buffers, used alternately: the result of a step is unchanged during the next step.
        self._buffers = [self.layout.allocate(*shape, device=self.device) for _ in range(2)]
        self._seen = torch.full((*shape, config.world.nearest), -1, dtype=torch.int32, device=self.device)
        self.records = self._buffers[0]
        """[R, A, bytes] uint8: the newest observation as ``ObservationLayout`` records."""
        self.step_actions: StepActions | None = None
        """All agents' actions in the last step, for recordings; valid until the next step."""
        self._reward = torch.zeros(shape, device=self.device, dtype=torch.float32)
        self._rewards = Rewards(config, self.world)
        self._truncated = torch.zeros(shape, dtype=torch.bool, device=self.device)
        if self.begun:
            self._validate()
            self._observe(self.records)

    def reset(self, out: Tensor | None = None) -> Observation:
        """Begins the world: the first agents spawn and observe. Call it once; the world never ends.

        Args:
            out: [R, A, bytes] uint8, contiguous, to write the observation into; by default one of the
                environment's own two buffers, used alternately.

        Returns:
            ``name -> [R, A, ...]`` views into the buffer, as ``ObservationLayout`` lists them.

        Raises UsageError on a second call.
        """
        if self.begun:
            raise UsageError(
                "reset() was called a second time: a persistent world begins once and never ends, and "
                "step() spawns new agents as others die; for another world make another environment."
            )
        out = self._buffer(out)
        self.begun = True
        shape = (self.config.realms, self.config.world.slots)
        nothing = torch.zeros(shape, dtype=torch.int64, device=self.device)
        tick.step(self.world, self.backend, nothing, nothing, nothing - 1)
        self._rewards.begin(self.world)
        self._validate()
        return self._observe(out)

    def step(self, actions: Tensor, out: Tensor | None = None) -> Step:
        """Runs one tick.

        Args:
            actions: [R, A, heads] of any integer dtype, on the environment's device: one choice per head (see
                ``nmmo_gpu.world.actions.action_heads``). Actions of empty slots are ignored, but must be in
                range. Without ``check_actions``, the result of values out of range is undefined: they can end
                the process.
            out: as for ``reset``.

        Returns:
            obs: ``name -> [R, A, ...]``; valid until the step after the next (or as long as ``out`` is).
            reward: [R, A] float32; 0 for empty slots. Like the following values, it is overwritten by the
                next step.
            terminated: [R, A] bool, the agent that acted in this slot has died.
            truncated: [R, A] bool, always False.
            info: views of the world, ``[R, A]``: ``cause`` (uint8, cause of death if the slot's agent died in
                this tick, else 0), and of the slot's agent, dead or alive, ``entity`` (int64 id),
                ``lifetime`` (int32 ticks) and ``explored`` (int32 tiles).

        Raises ActionError for invalid actions, before any state changes. With ``config.check``, raises
        WorldError if the tick leaves a state that breaks an invariant.
        """
        if not self.begun:
            raise UsageError("step() was called before reset(); call env.reset() once, first.")
        actions = self._checked(actions)
        out = self._buffer(out)
        world = self.world
        acting = world.agents(world.alive).clone()
        chosen = self.decode(actions)
        style, target = tick.step(world, self.backend, *chosen)
        self.step_actions = StepActions(style, target, chosen.work)
        self._validate()
        died = (world.agents(world.cause) != 0) & acting
        if self.config.reward == "alive":
            self._reward.copy_(acting & ~died)
        else:
            self._reward.zero_()
            if self.config.reward == "death":
                self._reward.masked_fill_(died, -1.0)
        with self._unchanged("a reward"):
            self._rewards.add(world, acting, self._reward)
        info = {
            "cause": world.agents(world.cause),
            "entity": world.agents(world.entity),
            "lifetime": world.agents(world.age),
            "explored": world.explored,
        }
        return self._observe(out), self._reward, died, self._truncated, info

    @contextlib.contextmanager
    def intervene(self) -> Iterator[World]:
        """A context in which the state may be changed between two ticks::

            with env.intervene() as world:
                world.gold[0, :8] += 100

        Write into the tensors of the world; do not replace them. When the context ends, goods that have
        appeared or disappeared are booked in the ledger (as ``INITIAL`` and ``LOST``), the state is validated
        (``World.validate``), and ``records`` and the views of it are written again. Rewards count from then
        on, so the change itself is not rewarded.

        Raises UsageError before ``reset``, and if a tensor was replaced; WorldError if the state breaks an
        invariant. After these and any other error, the world is as it was before.
        """
        if not self.begun:
            raise UsageError("intervene() was called before reset(); call env.reset() once, first.")
        before = self.world.clone()
        tensors = dict(self.world.tensors())
        try:
            yield self.world
            for name, tensor in tensors.items():
                if self.world.tensor(name) is not tensor:
                    raise UsageError(
                        f"world.{name} was replaced by another tensor; write into it: world.{name}[...] = "
                        f"values, or world.{name}.copy_(values)."
                    )
            self.world.validate(ledger=False)
            book_difference(self.world)
            self.world.validate()
        except BaseException:
            for name, tensor in before.tensors():
                self.world.set_tensor(name, tensors[name].copy_(tensor))
            raise
        self.refresh()

    def refresh(self) -> None:
        """Writes ``records`` and the views of it again, and counts rewards from now on: for worlds whose
        tensors were written between two ticks. ``intervene`` does this itself."""
        self._rewards.begin(self.world)
        self._observe(self.records)

    @property
    def backend(self) -> Backend:
        """The implementation of the phases. To replace one, assign ``dataclasses.replace(env.backend,
        regrowth=mine)``; the other phases remain those of the backend."""
        return self._backend

    @backend.setter
    def backend(self, backend: Backend) -> None:
        self._backend, self.world.draw = backend, backend.draw

    def decode(self, actions: Tensor) -> Choices:
        """All agents' choices, with targets as slots, from actions as ``step`` takes them."""
        return choices(self.config.world, actions, self.backend.decode(actions, self._seen))

    @property
    def _validates(self) -> bool:
        return self.config.check and self.device.type != "meta"

    def _validate(self) -> None:
        if self._validates:
            self.world.validate()

    @contextlib.contextmanager
    def _unchanged(self, what: str) -> Iterator[None]:
        """With ``config.check``, raises WorldError if code of a user writes the world in the context."""
        users = bool(self.config.world.systems) or isinstance(self.config.reward, RewardFunction)
        if not (users and self._validates):
            yield
            return
        before = self.world.digest()
        yield
        if self.world.digest() != before:
            raise WorldError(f"{what} has changed the world, which only phases may do.")

    def _observe(self, out: Tensor) -> Observation:
        self.backend.observe(self.world, out, self._seen)
        self.records, fields = out, self.layout.views(out)
        if not self.layout.systems_observe:
            return fields
        with self._unchanged("an observation"):
            observe_systems(self.world, out, fields, self._seen, self.layout, self._validates)
        return fields

    def _buffer(self, out: Tensor | None) -> Tensor:
        """The buffer for the next observation; ActionError if ``out`` is invalid."""
        if out is None:
            self._buffers.reverse()
            return self._buffers[0]
        expected = self._buffers[0]
        if not isinstance(out, Tensor):
            raise ActionError(f"out is a {type(out).__name__}; give a {_describe(expected)}.")
        if (
            out.shape != expected.shape
            or out.dtype != torch.uint8
            or out.device != expected.device
            or not out.is_contiguous()
        ):
            raise ActionError(
                f"out is {_describe(out)}; give a contiguous {_describe(expected)}, as "
                "env.layout.allocate(realms, slots, device=env.device) makes."
            )
        if out.is_inference() and not torch.is_inference_mode_enabled():
            raise ActionError(
                "out was made in inference mode and cannot be written outside of it; make it outside, or use "
                "it in inference mode only."
            )
        return out

    def _checked(self, actions: Tensor) -> Tensor:
        """The actions, in a dtype in which differences can be negative."""
        expected = (self.config.realms, self.config.world.slots, len(self.action_heads))
        if not isinstance(actions, Tensor):
            raise ActionError(f"actions is a {type(actions).__name__}; give a torch.Tensor {expected}.")
        if tuple(actions.shape) != expected:
            raise ActionError(
                f"actions has shape {tuple(actions.shape)}; give {expected}: realms, slots, "
                f"({', '.join(self.action_heads)})."
            )
        if actions.dtype not in INTEGERS:
            raise ActionError(f"actions has dtype {actions.dtype}; give integers, such as torch.int64.")
        if actions.device != self._limit.device:
            raise ActionError(
                f"actions is on {actions.device}, the world on {self._limit.device}; "
                f"make it there, or move it with actions.to(env.device)."
            )
        if actions.dtype not in (torch.int64, torch.int32):
            actions = actions.to(torch.int64)
        if self._check:
            wrong = (actions < 0) | (actions >= self._limit)
            if wrong.any():
                realm, slot, head = wrong.nonzero()[0].tolist()
                raise ActionError(
                    f"actions[{realm}, {slot}, {head}] ({list(self.action_heads)[head]}) = "
                    f"{int(actions[realm, slot, head])} is out of range; choose a value from 0 to "
                    f"{self.action_sizes[head] - 1}."
                )
        return actions


def configure(preset: str = "chaos", **settings: Any) -> EnvConfig:
    """The config from a preset's name and any fields of EnvConfig and WorldConfig, as in ``make``."""
    of_batch = {field.name for field in dataclasses.fields(EnvConfig)} - {"world"}
    config = {name: value for name, value in settings.items() if name not in of_batch}
    batch = {name: value for name, value in settings.items() if name in of_batch}
    if "maps" in batch:
        maps = batch["maps"]
        batch["maps"] = (str(maps),) if isinstance(maps, (str, Path)) else maps
    return EnvConfig(world=configs.preset(preset, **config), **batch)


def make(preset: str = "chaos", **settings: Any) -> Env:
    """Makes an environment from a preset's name and any fields of EnvConfig and WorldConfig.

    ``nmmo_gpu.make("chaos", realms=64, seed=0, device="auto", height=256, width=256, births=-1)``.
    Raises ConfigError for an unknown preset or field, and for invalid values."""
    return Env(configure(preset, **settings))


def random_actions(env: Env) -> Tensor:
    """[R, A, heads] int64: uniformly random moves, styles and targets, as v1's random agents chose them, and
    for each other head one of the choices that its mask allows.

    The target is one of those allowed with the style, or the agent itself, which means none; the price is one
    that is allowed with the trade. Draws come from the world's own counter-based streams, on its device."""
    world, config = env.world, env.config.world
    views = env.layout.views(env.records)
    realm = torch.arange(world.realms, device=env.device, dtype=torch.int64)[:, None]
    slot = torch.arange(config.slots, device=env.device, dtype=torch.int64)[None, :]
    words = env.backend.draw(world.seed, world.tick, Stream.RANDOM_ACTION, realm, slot)
    style = below(words[1], len(STYLES))
    reachable = row_of(views["target_mask"], style)
    # Rows are sorted by distance, so those in reach come first, after "nobody". In rolled combat some of them
    # are immune.
    target = _any_of(reachable, words[2]) if config.rolls else below(words[2], reachable.sum(-1))
    chosen = {"move": below(words[0], len(MOVES)), "style": style, "target": target}
    if config.extended:
        words = env.backend.draw(world.seed, world.tick, Stream.RANDOM_GOODS, realm, slot)
        for name, word in (("work", words[0]), ("trade", words[1]), ("token", words[3])):
            if name in env.action_heads:
                chosen[name] = _any_of(views[name + "_mask"], word)
    for number, name in enumerate(list(env.action_heads)[sum(h in STOCK_HEADS for h in env.action_heads) :]):
        index = slot + (number << SLOT_BITS)
        words = env.backend.draw(world.seed, world.tick, Stream.RANDOM_OTHERS, realm, index)
        chosen[name] = _any_of(views[name + "_mask"], words[0])
    if "price" in env.action_heads:
        side = side_of(chosen["trade"], env.action_heads["trade"])
        chosen["price"] = _any_of(row_of(views["price_mask"], side), words[2])
    return torch.stack([chosen[name] for name in env.action_heads], -1)


def _any_of(mask: Tensor, word: Tensor) -> Tensor:
    """[...] int64: one of the choices that a mask [..., n] allows, all equally likely, from 32-bit words
    [...]; 0 if it allows none."""
    nth = below(word, mask.sum(-1))
    return (mask.cumsum(-1) > nth[..., None]).to(torch.uint8).argmax(-1)


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}".replace("torch.", "")


__all__ = ["Env", "EnvConfig", "WorldConfig", "configure", "make", "random_actions"]
