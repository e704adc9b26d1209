#!/usr/bin/env python
"""A central critic, as in MAPPO (Yu et al. 2022, arXiv 2103.01955): the value also depends on all agents of
the realm, the actions only on the agent's own observation. The critic is needed in training alone.

examples/networks/central_critic.py [options of nmmo-gpu train chaos]
"""

from torch import Tensor, nn

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train.network_spec import NetworkSpec, Observations
from nmmo_gpu.train.run import train


def symlog(numbers: Tensor) -> Tensor:
    """Scales numbers of any size, keeping their signs."""
    numbers = numbers.float()
    return numbers.sign() * numbers.abs().log1p()


class CentralCritic(nn.Module):
    """Actor and critic share no weights."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        hidden = spec.policy.hidden
        (own,) = spec.layout.fields["self"].shape
        self.actor = nn.Sequential(
            nn.Linear(spec.encoded_size, hidden), nn.ReLU(), nn.Linear(hidden, spec.choices)
        )
        self.member = nn.Sequential(nn.Linear(own, hidden), nn.ReLU())
        self.critic_own = nn.Linear(spec.encoded_size, hidden)
        self.critic_realm = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Sequential(nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, obs: Observations) -> tuple[Tensor, Tensor]:
        encoded = obs.encoded()
        mixed = self.critic_own(encoded) + self.critic_realm(self.realms(obs))[obs.realm]
        return self.actor(encoded), self.value(mixed).squeeze(-1)

    def realms(self, obs: Observations) -> Tensor:
        """Returns a summary of each realm in each tick, [T * R, hidden]: the mean over its living agents."""
        alive = obs.everyone("alive")[..., None]  # [T * R, A, 1]
        members: Tensor = self.member(symlog(obs.everyone("self"))) * alive
        return members.sum(1) / alive.sum(1).clamp(min=1)


if __name__ == "__main__":
    train(train_options("chaos"), network=CentralCritic)
