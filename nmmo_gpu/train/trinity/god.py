"""God, a server: owns realms and collects rollouts in them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import ALL_FREE_SLOTS, EnvConfig
from nmmo_gpu.env import Env
from nmmo_gpu.replay.columns import PolicyTrace
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.train import distributed
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.cuda_graphs import GraphedCallable, weakly
from nmmo_gpu.train.living import Living, columns_for, count_living
from nmmo_gpu.train.metrics import Tally
from nmmo_gpu.train.readback import Readback
from nmmo_gpu.train.rollout import Rollout
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.trinity.sword import Decision, Sword
from nmmo_gpu.train.uncopied import Uncopied
from nmmo_gpu.world.capturable import check_capturable
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.memory import META, Part, check_memory
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World


class God(Uncopied):
    """A server: owns realms and collects rollouts in them."""

    @default_modes()
    def __init__(self, config: TrainConfig, sword: Sword, world: World | None = None) -> None:
        """Creates and resets this process's share of the realms, or continues with ``world``, the share of a
        checkpoint.

        Raises ConfigError if the rollout does not fit in the device's memory, or if a system cannot be part
        of a CUDA graph."""
        self.config, self.sword = config, sword
        shard = distributed.shard(config.env)
        _check_rollout(config, shard, len(sword.action_heads))
        self.env = Env(shard, world)
        if world is None:
            self.env.reset()
        world_config, realms = config.env.world, self.env.config.realms
        self.rollout = Rollout.allocate(
            self.env.layout,
            config.ppo.horizon,
            realms,
            world_config.slots,
            self.env.device,
            len(sword.action_heads),
        )
        self.rollout.records[-1].copy_(self.env.records)
        self.recurrent_state = sword.policy.initial_state(realms * world_config.slots, self.env.device)
        if self.recurrent_state is not None:
            self.rollout.state = torch.zeros_like(self.recurrent_state)
        self.tally = Tally(self.env.device, sword.training_backend.count)
        self.visits = torch.zeros(
            world_config.height, world_config.width, dtype=torch.int64, device=self.env.device
        )
        """[H, W] int64: number of agents seen on each tile, sampled once per rollout, over all realms."""
        self.recorder: Recorder | None = None
        """Records realms during the rollouts; None to record nothing."""
        # A CUDA graph cannot wait for the device, as validation does.
        allowed = sword.training_backend.static_shapes and config.graphs and not config.env.check
        if allowed and self.env.device.type == "cuda":
            check_capturable(shard)
        self._graphs = allowed
        self._memory: Any = None  # shared by all graphs
        self.plays: dict[int, GraphedCallable] = {}
        """Rollouts by the number of slots of each population that they compute; see
        ``nmmo_gpu.train.living``."""
        self._slots = realms * world_config.population_size
        self.columns = self._slots
        """The number of slots of each population that the next rollout computes."""
        # What a subclass of Sword does besides deciding could not be undone in order to repeat a rollout.
        self._living_only = (
            sword.training_backend.static_shapes
            and type(sword).decide is Sword.decide
            and world_config.births != ALL_FREE_SLOTS
        )
        self._before: list[Tensor] = []
        """With ``_living_only``: copies of what a rollout changes, from before it."""
        self._readback = Readback(self.env.device)

    def state(self) -> dict[str, Tensor]:
        """Returns the counts that a checkpoint stores, summed over all processes; they are restored in
        place."""
        state = {f"tally.{name}": tensor for name, tensor in self.tally.state().items()}
        state["visits"] = self.visits
        return state

    def by_realm(self) -> dict[str, Tensor]:
        """Returns what a checkpoint stores of each realm besides its world, [realms * n, ...]; it is restored
        in place."""
        return {} if self.recurrent_state is None else {"state": self.recurrent_state}

    def collect(self) -> Rollout:
        """Plays ``horizon`` ticks and returns the rollout, which the next call overwrites.

        With static shapes and slots that are not kept full, this waits until the rollout is complete, to find
        out how many agents lived in it; then the device is idle for the time of a graph launch."""
        if self._living_only:
            self._collect_living()
        else:
            self._played(self._slots)
        if self.recorder is not None:
            self.recorder.flush()
        return self.rollout

    def _collect_living(self) -> None:
        """Plays a rollout that computes ``columns`` slots of each population; again with all slots if that
        was not enough."""
        self._keep()
        living = self._played(self.columns)
        if living is not None and living.most > self.columns:
            self._undo()
            living = self._played(self._slots)
        if living is not None:
            self.columns = columns_for(living, self._slots)

    def _played(self, columns: int) -> Living | None:
        """Plays a rollout that computes ``columns`` slots of each population, and returns how many agents
        lived in it; None if that is not needed."""
        if columns not in self.plays:
            if self._memory is None and self.env.device.type == "cuda":
                self._memory = torch.cuda.graph_pool_handle()
            self.plays[columns] = GraphedCallable(
                weakly(self._play, columns), self.env.device, self._graphs, self._memory,
                warm=bool(self.plays),
            )  # fmt: skip
        living = self.plays[columns]()
        if living is None or living.device.type == "meta":
            return None
        (host_copy,) = self._readback.send({"living": living}, None) + self._readback.receive()
        return Living(*host_copy.tensors["living"].tolist())

    def _changed(self) -> list[Tensor]:
        """Returns the tensors that a rollout changes, without the recurrent state, which it keeps itself."""
        mine = (*self.state().values(), *self.by_realm().values())
        mine = tuple(tensor for tensor in mine if tensor is not self.recurrent_state)
        return [*(tensor for _, tensor in self.env.world.tensors()), *mine]

    @default_modes()
    @torch.no_grad()
    def _keep(self) -> None:
        """Copies what the next rollout changes, for ``_undo``."""
        if not self._before:
            self._before = [tensor.clone() for tensor in self._changed()]
        elif self.columns < self._slots:
            for before, tensor in zip(self._before, self._changed(), strict=True):
                before.copy_(tensor)

    @default_modes()
    @torch.no_grad()
    def _undo(self) -> None:
        """Goes back to before the last rollout, which did not compute all slots."""
        for tensor, before in zip(self._changed(), self._before, strict=True):
            tensor.copy_(before)
        if self.recurrent_state is not None and self.rollout.state is not None:
            self.recurrent_state.copy_(self.rollout.state)
        self.env.refresh()

    @default_modes()
    @torch.no_grad()
    def _play(self, columns: int) -> Tensor | None:
        """Plays a rollout; returns ``count_living`` if it is needed."""
        rollout, world, policy = self.rollout, self.env.world, self.sword.policy
        rollout.records[0].copy_(rollout.records[-1])
        if self.recurrent_state is not None and rollout.state is not None:
            rollout.state.copy_(self.recurrent_state)
        self.sword.columns = columns if columns < self._slots else None
        try:
            with policy.using(policy.weights()):
                for t in range(rollout.alive.shape[0]):
                    self._play_tick(t)
                rollout.value[-1] = self.sword.decide(rollout.records[-1], world, self.recurrent_state).value
        finally:
            self.sword.columns = None
        rollout.seed.copy_(world.seed)
        rollout.tick.copy_(world.tick)
        occupied = world.presence > 0
        if world.config.npc_slots:
            occupied &= world.presence <= world.config.populations
        self.visits += occupied.sum(0, dtype=torch.int32)
        if not self._living_only:
            return None
        return count_living(rollout.alive, world.agents(world.alive), world.config.populations)

    def _play_tick(self, t: int) -> None:
        rollout, env, world = self.rollout, self.env, self.env.world
        decision = self.sword.decide(rollout.records[t], world, self.recurrent_state)
        rollout.alive[t] = world.agents(world.alive).reshape(-1)
        rollout.choices[t] = decision.choices
        rollout.log_probability[t] = decision.log_probability
        rollout.value[t] = decision.value
        policy_trace = self._policy_trace(rollout.records[t], decision)
        _, reward, died, _, _ = env.step(decision.actions, out=rollout.records[t + 1])
        if self.recorder is not None and env.step_actions is not None:
            self.recorder.capture(t, env.step_actions, policy_trace)
        rollout.reward[t] = reward.view(-1) * (1.0 - self.config.ppo.gamma)
        rollout.died[t] = died.view(-1)
        if self.recurrent_state is not None and decision.state is not None:
            self.recurrent_state.copy_(decision.state * (~died).view(-1, 1))
        self.tally.add(world, rollout.alive[t].view_as(died), decision.actions[..., 2] > 0)

    def _policy_trace(self, records: Tensor, decision: Decision) -> PolicyTrace | None:
        """Returns what the recorder stores of the decision; None if it stores nothing."""
        recorder = self.recorder
        if recorder is None or not self.config.record_policy:
            return None
        return self.sword.policy_trace(records, self.env.world, decision, recorder.realms)


def _check_rollout(config: TrainConfig, shard: EnvConfig, heads: int) -> None:
    """Raises ConfigError if the rollout of a shard's realms does not fit in the device's memory."""
    device = resolve_device(shard.device)
    if device.type == "meta":
        return
    layout = ObservationLayout(shard.world)
    planned = Rollout.allocate(layout, config.ppo.horizon, shard.realms, shard.world.slots, META, heads)
    size = sum(tensor.nbytes for tensor in vars(planned).values() if isinstance(tensor, Tensor))
    check_memory([Part("rollout", size)], device, "horizon, realms or slots")
