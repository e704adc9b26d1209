"""Sword, the agents: the policies of all populations, and how they choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.errors import UsageError
from nmmo_gpu.replay.columns import PolicyTrace
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.network import load_network
from nmmo_gpu.train.policy import AUTO_TARGETS, Output, Policy
from nmmo_gpu.train.rollout import all_by_population, by_population
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


def sword_with(network: type[Policy]) -> type[Sword]:
    """The stock Sword with another network."""
    return Sword if network is Sword.network else type("Sword", (Sword,), {"network": network})


def sword_named(network: str | None) -> type[Sword]:
    """The stock Sword with the network that a command line names, if it names one.

    Args:
        network: as for ``nmmo_gpu.train.network.load_network``, whose errors are raised."""
    return Sword if network is None else sword_with(load_network(network))
