"""Sword, the agents: the policies of all populations, and how they choose actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nmmo_gpu.errors import UsageError
from nmmo_gpu.replay.columns import PolicyTrace
from nmmo_gpu.train.build_policy import build_policy
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.output import Output, auto_target, mask_logits, policy_heads
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.rollout import all_by_population, by_population
from nmmo_gpu.train.sampling import head_distributions, sample, uniforms
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.training_backend import training_backend
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.state import World


class DecidedBy(NamedTuple):
    """The outputs of the policies for a decision."""

    rows: Tensor
    """[P, B] int64: the rows of [R * A] of each population."""
    output: Output | Tensor
    """The ``Output`` or ``PolicyBase.unmasked`` for these rows."""


class Decision(NamedTuple):
    """The decision of a Sword for all slots of a server."""

    actions: Tensor
    """[R, A, heads] integers, for ``Env.step``."""
    choices: Tensor
    """[R * A, heads] int16: the choices of the policy's heads (under auto-targeting, the third differs from
    that of the action)."""
    log_probability: Tensor
    """[R * A] float32; 0 for empty slots."""
    value: Tensor
    """[R * A] float32; 0 for empty slots."""
    state: Tensor | None
    """[R * A, n] float32: the recurrent state after the step; None without recurrence."""
    decided_by: DecidedBy | None = None
    """The outputs from which ``Sword.policy_trace`` makes recordings; None if a ``decide`` does not provide
    them."""


class Sword:
    """The agents: the policies of all populations, and how they choose actions."""

    network: type[nn.Module] = Policy
    """The class of the policy network: ``Policy``, a subclass of it, or any class of ``torch.nn.Module`` that
    ``nmmo_gpu.train.network_spec`` describes."""

    @default_modes()
    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        """Makes the policies, with weights drawn from the run's seed.

        Raises ConfigError if the network is not as ``nmmo_gpu.train.network_spec`` describes."""
        self.config = config
        self.training_backend = training_backend(resolve(config.env.backend, device), config.env.world)
        self.policy = build_policy(self.network, config, self.training_backend, device)
        self.action_heads = tuple(action_heads(config.env.world))
        """Names of the heads, in the order of the columns of an action."""
        self.columns: int | None = None
        """With static shapes: the number of slots of each population that ``decide`` computes, living agents
        first; None for all. If a population has more living agents, the others are treated as empty slots.
        God sets it during its rollouts, and repeats a rollout in which that happened."""
        self._all_rows: Tensor | None = None

    @default_modes()
    @torch.no_grad()
    def decide(self, records: Tensor, world: World, state: Tensor | None) -> Decision:
        """Chooses an action for every living agent.

        The random numbers depend only on (seed, tick, realm, slot), so an agent's choice does not depend on
        how many other agents choose at the same time.

        Args:
            records: [R, A, bytes] uint8, the latest observation.
            world: read for ``alive``, ``seed`` and ``tick``.
            state: [R * A, n] float32, the recurrent state of a recurrent policy, else None.

        Returns:
            A decision for every slot; those of empty slots are ignored.
        """
        if self.training_backend.choose is not None:
            return self._decide_for_all(records, world, state, self.training_backend.choose)
        policy, alive = self.policy, world.agents(world.alive)
        realms, slots = alive.shape
        rows = records.view(realms * slots, -1)
        index, real = by_population(alive.reshape(1, -1), policy.world_config.populations, slots)
        recalled = None if state is None else state[index]
        draws = uniforms(self.training_backend.draw, world, self.action_heads, index // slots, index % slots)
        if self.training_backend.sample is not None:
            logits, new_state = policy.unmasked(rows, index, recalled)
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
            value, new_state = output.value, output.state

        who, choices = index[real], choices[real]
        actions = torch.zeros(realms * slots, len(self.action_heads), dtype=torch.int64, device=rows.device)
        actions[who] = choices
        if policy.config.targeting == "auto":
            views = policy.header_fields(rows, who)
            actions[who, 2] = choices[:, 2] * auto_target(views, choices[:, 1])
        everyone = torch.zeros(3, realms * slots, device=rows.device, dtype=torch.float32)
        everyone[0, who] = log_probability[real]
        everyone[1, who] = value[real]
        all_choices = torch.zeros(actions.shape, dtype=torch.int16, device=rows.device)
        all_choices[who] = choices.to(torch.int16)
        if state is not None and new_state is not None:
            state = torch.zeros_like(state).index_put_((who,), new_state[real])
        return Decision(
            actions.view(realms, slots, -1), all_choices, everyone[0], everyone[1], state, decided_by
        )

    def _decide_for_all(
        self, records: Tensor, world: World, state: Tensor | None, choose: Callable[..., Any]
    ) -> Decision:
        """Does the same as ``decide``, but without a copy from the device of which agents are alive: it
        computes a given number of slots, the results of which are ignored where they are empty."""
        policy, alive = self.policy, world.agents(world.alive)
        realms, slots = alive.shape
        rows = records.view(realms * slots, -1)
        index = self._rows(alive)
        logits, new_state = policy.unmasked(rows, index, None if state is None else state[index])
        chosen = choose(world, rows, index, logits, policy.layout, policy.config.targeting == "auto")
        if state is not None and new_state is not None:
            kept = new_state.flatten(0, 1) * alive.reshape(-1)[index.view(-1)][:, None]
            state = torch.zeros_like(state).index_copy_(0, index.view(-1), kept)
        actions = chosen.actions.view(realms, slots, -1)
        return Decision(
            actions, chosen.choices, chosen.log_probability, chosen.value, state, DecidedBy(index, logits)
        )

    def _rows(self, alive: Tensor) -> Tensor:
        """Returns [P, B] int64: the slots to compute where shapes are static."""
        populations = self.policy.world_config.populations
        if self.columns is not None:
            return self.training_backend.living_first(alive, populations, self.columns)
        if self._all_rows is None or self._all_rows.numel() != alive.numel():
            self._all_rows, _ = all_by_population(alive.reshape(1, -1), populations, alive.shape[1])
        return self._all_rows

    def choices(self) -> dict[str, int]:
        """Returns ``nmmo_gpu.train.output.policy_heads``: name and number of choices of each head."""
        return policy_heads(self.config.env.world, self.config.policy.targeting)

    @default_modes()
    @torch.no_grad()
    def policy_trace(self, records: Tensor, world: World, decision: Decision, realms: Tensor) -> PolicyTrace:
        """Returns the policies' probabilities and values for a decision in some realms, for recordings; does
        not synchronize with the device.

        Args:
            records: as passed to ``decide``.
            world: as passed to ``decide``, and not stepped since.
            decision: as returned by ``decide``.
            realms: [k] int64, the realms to record.

        Returns:
            Probabilities and values of all slots of these realms; zeros for empty slots.

        Raises UsageError if the decision does not contain the outputs of the policies."""
        if decision.decided_by is None:
            raise UsageError(
                f"the outputs of the policy cannot be recorded, as {type(self).__name__}.decide() returns a "
                "Decision without decided_by; keep that of Sword.decide() with decision._replace(...), or "
                "record without: --no-record-policy."
            )
        index, output_or_logits = decision.decided_by
        alive, slots = world.agents(world.alive), records.shape[1]
        within = torch.arange(slots, device=realms.device, dtype=torch.int64)
        place = (realms[:, None] * slots + within).view(-1)
        # The position of each slot in the index. Padding repeats a slot, whose outputs are the same.
        number = torch.arange(index.numel(), device=index.device, dtype=torch.int64)
        where = torch.zeros(alive.numel(), dtype=torch.int64, device=index.device)
        where = where.scatter_(0, index.reshape(-1), number)[place]
        if isinstance(output_or_logits, Output):
            output = output_or_logits.map(lambda part: part.flatten(0, 1)[where])
        else:
            views = self.policy.header_fields(records.view(-1, records.shape[-1]), place)
            logits = output_or_logits.flatten(0, 1)[where]
            output = mask_logits(logits, views, self.policy.config.targeting)
        made = dict(zip(self.action_heads, decision.choices[place].long().unbind(-1), strict=True))
        logs = head_distributions(output, made["style"], made.get("trade"))
        recorded = torch.cat((output.value[..., None], *(log.exp() for log in logs)), -1).float()
        recorded = recorded.view(len(realms), slots, recorded.shape[-1]).masked_fill(
            ~alive[realms][..., None], 0.0
        )
        return PolicyTrace(recorded[..., 1:], recorded[..., 0])


def sword_with(network: type[nn.Module], sword: type[Sword] = Sword) -> type[Sword]:
    """Returns a Sword with another network.

    Args:
        network: the class of the network.
        sword: the Sword. The result has its name, so checkpoints tell the two apart by the network."""
    if network is sword.network:
        return sword
    members = {"network": network, "__module__": sword.__module__, "__qualname__": sword.__qualname__}
    return type(sword.__name__, (sword,), members)
