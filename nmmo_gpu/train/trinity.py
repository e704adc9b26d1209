"""Trinity: the three classes that a researcher overrides, named as in Neural MMO v1.

Sword (the agents) holds the policies and decides. God (a server) owns realms and collects what happens in
them. Pantheon (the cluster) learns, and keeps what has been learned. The stock trainer is made of these
three; to change one, subclass it and hand it to ``nmmo_gpu.train.run.train``:

    class Bolder(Sword):
        def decide(self, records, world, memory): ...

    train(config, trinity=Trinity(sword=Bolder))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.env import Env
from nmmo_gpu.errors import UsageError
from nmmo_gpu.replay.columns import PolicyTrace
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.train import checkpoint, distributed, ppo
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.cuda_graphs import GraphedCallable, weakly
from nmmo_gpu.train.metrics import Tally
from nmmo_gpu.train.network import load_network
from nmmo_gpu.train.policy import AUTO_TARGETS, Output, Policy
from nmmo_gpu.train.readback import Readback
from nmmo_gpu.train.rollout import Rollout, all_by_population, by_population
from nmmo_gpu.train.sampling import head_distributions, sample, uniforms
from nmmo_gpu.train.training_backend import training_backend
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.state import World


class DecidedBy(NamedTuple):
    """What the policies put out for a decision."""

    rows: Tensor
    """[P, B] int64: the rows of [R * A] that each population looked at."""
    output: Output | Tensor
    """Of these rows: an ``Output``, or ``Policy.logits``."""


class Decision(NamedTuple):
    """What a Sword decides for all slots of a server."""

    actions: Tensor
    """[R, A, heads] integers, for ``Env.step``."""
    choices: Tensor
    """[R * A, heads] int16: what the policy's heads chose (under auto-targeting the third differs from
    the action's)."""
    log_probability: Tensor
    """[R * A] float32; 0 for empty slots."""
    value: Tensor
    """[R * A] float32; 0 for empty slots."""
    memory: Tensor | None
    """[R * A, hidden] after the step; None without recurrence."""
    decided_by: DecidedBy | None = None
    """What recordings tell of the policies (``Sword.policy_trace``); None where a ``decide`` does not give
    it."""


class Sword:
    """The agents: the policies of all populations, and how they choose."""

    network: type[Policy] = Policy
    """What a policy is made of."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config = config
        self.training_backend = training_backend(
            resolve(config.env.backend, device), config.env.world.extended
        )
        generator = torch.Generator().manual_seed(config.env.seed)
        backend = self.training_backend
        self.policy = self.network(
            config.env.world, config.policy, generator, backend.encode_inputs, backend.hidden_layers,
            backend.window_embedding, backend.encode_features,
        ).to(device)  # fmt: skip
        self.action_heads = tuple(action_heads(config.env.world))
        """Names of the heads, in the order of an action's columns."""
        self._everybody: Tensor | None = None

    @torch.no_grad()
    def decide(self, records: Tensor, world: World, memory: Tensor | None) -> Decision:
        """Chooses for every living agent.

        The draws depend on (seed, tick, realm, slot) alone, so an agent's choice does not depend on how
        many others choose beside it.

        Args:
            records: [R, A, bytes] uint8, the newest observation.
            world: read for ``alive``, ``seed`` and ``tick``.
            memory: [R * A, hidden] float32 of a recurrent policy, else None.

        Returns:
            A choice for every slot; those of empty slots are ignored.
        """
        if self.training_backend.choose is not None:
            return self._decide_for_all(records, world, memory, self.training_backend.choose)
        policy, alive = self.policy, world.agents(world.alive)
        realms, slots = alive.shape
        rows = records.view(realms * slots, -1)
        index, real = by_population(alive.reshape(1, -1), policy.world_config.populations, slots)
        recalled = None if memory is None else memory[index]
        draws = uniforms(self.training_backend.draw, world, self.action_heads, index // slots, index % slots)
        if self.training_backend.sample is not None:
            logits, state = policy.unmasked(rows, index, recalled)
            decided_by = DecidedBy(index, logits)
            auto = policy.config.targeting == "auto"
            choices, log_probability = self.training_backend.sample(
                rows, index, logits, draws, policy.layout, auto
            )
            value = logits[..., -1]
        else:
            output = policy(rows, index, recalled)
            decided_by = DecidedBy(index, output)
            choices, log_probability = sample(output, draws)
            value, state = output.value, output.state

        who, choices = index[real], choices[real]
        actions = torch.zeros(realms * slots, len(self.action_heads), dtype=torch.int64, device=rows.device)
        actions[who] = choices
        if policy.config.targeting == "auto":
            views = policy.header_fields(rows, who)
            actions[who, 2] = choices[:, 2] * policy.auto_target(views, choices[:, 1])
        everyone = torch.zeros(3, realms * slots, device=rows.device)
        everyone[0, who] = log_probability[real]
        everyone[1, who] = value[real]
        all_choices = torch.zeros(actions.shape, dtype=torch.int16, device=rows.device)
        all_choices[who] = choices.to(torch.int16)
        if memory is not None and state is not None:
            memory = torch.zeros_like(memory).index_put_((who,), state[real])
        return Decision(
            actions.view(realms, slots, -1), all_choices, everyone[0], everyone[1], memory, decided_by
        )

    def _decide_for_all(
        self, records: Tensor, world: World, memory: Tensor | None, choose: Callable[..., Any]
    ) -> Decision:
        """The same without asking the device who lives: the empty slots are looked at too, and ignored."""
        policy, alive = self.policy, world.agents(world.alive)
        realms, slots = alive.shape
        rows = records.view(realms * slots, -1)
        if self._everybody is None or self._everybody.numel() != len(rows):
            self._everybody, _ = all_by_population(
                alive.reshape(1, -1), policy.world_config.populations, slots
            )
        index = self._everybody
        logits, state = policy.unmasked(rows, index, None if memory is None else memory[index])
        chosen = choose(world, rows, index, logits, policy.layout, policy.config.targeting == "auto")
        if memory is not None and state is not None:
            kept = state.flatten(0, 1) * alive.reshape(-1)[index.view(-1)][:, None]
            memory = torch.empty_like(memory).index_copy_(0, index.view(-1), kept)
        actions = chosen.actions.view(realms, slots, -1)
        return Decision(
            actions, chosen.choices, chosen.log_probability, chosen.value, memory, DecidedBy(index, logits)
        )

    def choices(self) -> dict[str, int]:
        """``name -> number of choices`` of every head of the policy, in order: those of an action, but for a
        target that is chosen by rule."""
        sizes = action_heads(self.config.env.world)
        return sizes | ({"target": AUTO_TARGETS} if self.policy.config.targeting == "auto" else {})

    @torch.no_grad()
    def policy_trace(self, records: Tensor, world: World, decision: Decision, realms: Tensor) -> PolicyTrace:
        """What the policies of some realms thought when they took a decision, for recordings; asks the device
        for nothing.

        Args:
            records: what ``decide`` was given.
            world: what ``decide`` was given, not stepped since.
            decision: what ``decide`` returned.
            realms: [k] int64, the realms to look at.

        Returns:
            Probabilities and values of all slots of these realms; zeros for empty slots.

        Raises UsageError if the decision does not hold what the policies put out."""
        if decision.decided_by is None:
            raise UsageError(
                f"what this policy thinks cannot be recorded, as {type(self).__name__}.decide() returns a "
                "Decision without decided_by; keep that of Sword.decide() with decision._replace(...), or "
                "record without: --no-record-policy."
            )
        index, output_or_logits = decision.decided_by
        alive, slots = world.agents(world.alive), records.shape[1]
        place = (realms[:, None] * slots + torch.arange(slots, device=realms.device)).view(-1)
        # Where each slot stands in the index. What fills up its rows is looked at twice, to the same effect.
        number = torch.arange(index.numel(), device=index.device)
        where = torch.zeros(alive.numel(), dtype=torch.int64, device=index.device)
        where = where.scatter_(0, index.reshape(-1), number)[place]
        if isinstance(output_or_logits, Output):
            output = Output._make(
                part if part is None else part.flatten(0, 1)[where] for part in output_or_logits
            )
        else:
            views = self.policy.header_fields(records.view(-1, records.shape[-1]), place)
            output = self.policy.masked(views, output_or_logits.flatten(0, 1)[where])
        made = dict(zip(self.action_heads, decision.choices[place].long().unbind(-1), strict=True))
        logs = head_distributions(output, made["style"], made.get("trade"))
        recorded = torch.cat((output.value[..., None], *(log.exp() for log in logs)), -1).float()
        recorded = recorded.view(len(realms), slots, -1).masked_fill(~alive[realms][..., None], 0.0)
        return PolicyTrace(recorded[..., 1:], recorded[..., 0])


class God:
    """A server: its realms, and the rollouts collected in them."""

    def __init__(self, config: TrainConfig, sword: Sword, world: World | None = None) -> None:
        """Begins this process's share of the realms, or goes on with that of a checkpoint."""
        self.config, self.sword = config, sword
        self.env = Env(distributed.shard(config.env), world)
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
        self.memory = sword.policy.initial_state(realms * world_config.slots, self.env.device)
        if self.memory is not None:
            self.rollout.state = torch.zeros_like(self.memory)
        self.tally = Tally(self.env.device, sword.training_backend.count)
        self.visits = torch.zeros(
            world_config.height, world_config.width, dtype=torch.int64, device=self.env.device
        )
        """[H, W] int64: how often an agent stood there, sampled once per rollout, over all realms."""
        self.recorder: Recorder | None = None
        """Records realms as they are played, if it is there."""
        allowed = sword.training_backend.static_shapes and config.graphs
        self._collect = GraphedCallable(weakly(self._play), self.env.device, allowed)

    def state(self) -> dict[str, Tensor]:
        """The counts that a checkpoint keeps, summed over all processes; they are restored in place."""
        state = {f"tally.{name}": tensor for name, tensor in self.tally.state().items()}
        state["visits"] = self.visits
        return state

    def by_realm(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of each realm besides its world, [realms * n, ...]; restored in place."""
        return {} if self.memory is None else {"memory": self.memory}

    def collect(self) -> Rollout:
        """Plays ``horizon`` ticks. The rollout is written over by the next call."""
        self._collect()
        if self.recorder is not None:
            self.recorder.flush()
        return self.rollout

    @torch.no_grad()
    def _play(self) -> None:
        rollout, world, policy = self.rollout, self.env.world, self.sword.policy
        rollout.records[0].copy_(rollout.records[-1])
        if self.memory is not None and rollout.state is not None:
            rollout.state.copy_(self.memory)
        with policy.using(policy.weights()):
            for t in range(rollout.alive.shape[0]):
                self._play_tick(t)
            rollout.value[-1] = self.sword.decide(rollout.records[-1], world, self.memory).value
        rollout.seed.copy_(world.seed)
        rollout.tick.copy_(world.tick)
        somebody = world.presence > 0
        if world.config.npc_slots:
            somebody &= world.presence <= world.config.populations
        self.visits += somebody.sum(0)

    def _play_tick(self, t: int) -> None:
        rollout, env, world = self.rollout, self.env, self.env.world
        decision = self.sword.decide(rollout.records[t], world, self.memory)
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
        if self.memory is not None and decision.memory is not None:
            self.memory.copy_(decision.memory * (~died).view(-1, 1))
        self.tally.add(world, rollout.alive[t].view_as(died), decision.actions[..., 2] > 0)

    def _policy_trace(self, records: Tensor, decision: Decision) -> PolicyTrace | None:
        """What is recorded of the decision, if anything is."""
        recorder = self.recorder
        if recorder is None or not self.config.record_policy:
            return None
        return self.sword.policy_trace(records, self.env.world, decision, recorder.realms)


def sword_with(network: type[Policy]) -> type[Sword]:
    """The stock Sword with another network."""
    return Sword if network is Sword.network else type("Sword", (Sword,), {"network": network})


def sword_named(network: str | None) -> type[Sword]:
    """The stock Sword with the network that a command line names, if it names one.

    Args:
        network: as for ``nmmo_gpu.train.network.load_network``, whose errors are raised."""
    return Sword if network is None else sword_with(load_network(network))


ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of each parameter."""


class Pantheon:
    """The cluster: learns from what its servers collect."""

    def __init__(self, config: TrainConfig, sword: Sword) -> None:
        self.config, self.sword = config, sword
        # A step that is replayed reads its step size from the device.
        device = next(sword.policy.parameters()).device
        on_gpu = device.type == "cuda"
        self.rate = torch.tensor(config.ppo.learning_rate, device=device) if on_gpu else None
        self.optimizer = torch.optim.Adam(
            sword.policy.parameters(), lr=config.ppo.learning_rate if self.rate is None else self.rate,
            eps=1e-5, fused=device.type != "meta", capturable=on_gpu,
        )  # fmt: skip
        self.updates: dict[int | None, GraphedCallable] = {}
        """By the number of columns that they learn from."""
        self._source: Rollout | None = None
        self._readback = Readback(device)
        self._memory = torch.cuda.graph_pool_handle() if on_gpu else None  # one for the graphs of all updates

    def learn(self, rollout: Rollout, progress: float) -> dict[str, Tensor]:
        """One update, the same in all processes.

        Args:
            rollout: of this process's realms.
            progress: how much of the run is done, 0 to 1; sets the learning rate.

        Returns:
            Statistics by name, [P] float32 each: one number per population.
        """
        config, sword, optimizer = self.config.ppo, self.sword, self.optimizer
        self.set_rate(self.learning_rate(progress))
        if self._source is not rollout:
            self._source, self.updates = rollout, {}
        columns = self._columns(rollout)
        if columns not in self.updates:
            self.updates[columns] = GraphedCallable(
                lambda: ppo.update(sword.policy, optimizer, rollout, config, sword.training_backend, columns),
                rollout.alive.device,
                sword.training_backend.static_shapes and self.config.graphs,
                memory=self._memory,
                warm=bool(self.updates),
            )
        statistics: dict[str, Tensor] = self.updates[columns]()
        return statistics

    def _columns(self, rollout: Rollout) -> int | None:
        """How many columns an update needs where shapes are static; None for as many as there can be.

        The host waits here until the rollout has been played. The device is idle for as long as it takes to
        launch a graph, and need not compute the empty slots."""
        static = self.sword.training_backend.static_shapes
        if not static or self.config.policy.recurrent or rollout.alive.device.type == "meta":
            return None
        world = self.config.env.world
        living = {"living": ppo.most_living(rollout, world.populations, world.slots)}
        (host_copy,) = self._readback.send(living, None) + self._readback.receive()
        samples = rollout.alive.numel() // world.populations
        return ppo.enough_columns(
            int(host_copy.tensors["living"]), samples, least=self.config.ppo.minibatches
        )

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the learner: Adam's moments, by parameter."""
        return {
            f"{name}.{key}": value
            for name, parameter in self.sword.policy.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        }

    def restore(self, stored: dict[str, Tensor]) -> None:
        """Goes on from what ``state`` gave; CheckpointError if it does not fit."""
        parameters = dict(self.sword.policy.named_parameters())
        wanted = {
            f"{name}.{key}": (() if key == "step" else tuple(parameter.shape), torch.float32)
            for name, parameter in parameters.items()
            for key in ADAM_STATE
        }
        checkpoint.expect_all(stored, wanted, "optimizer.")
        for name, parameter in parameters.items():
            state = {key: stored[f"{name}.{key}"].to(parameter.device) for key in ADAM_STATE}
            self.optimizer.state[parameter] = state

    def learning_rate(self, progress: float) -> float:
        """Adam's step size when so much of the run is done, 0 to 1."""
        config = self.config.ppo
        return config.learning_rate + progress * (config.final_learning_rate - config.learning_rate)

    def set_rate(self, rate: float) -> None:
        """Sets the step size of the next updates."""
        if self.rate is not None:
            self.rate.fill_(rate)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate


@dataclass
class Trinity:
    """Which classes make up a run."""

    pantheon: type[Pantheon] = Pantheon
    god: type[God] = God
    sword: type[Sword] = Sword
