#!/usr/bin/env python
"""Population-based training in God: at intervals, the population whose agents live shortest is replaced by a
mutated copy of the one whose agents live longest (after Jaderberg et al. 2017, arXiv 1711.09846).

examples/trinity_population_based.py [options of nmmo-gpu train chaos]
"""

import torch
from torch import Tensor

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train import distributed
from nmmo_gpu.train.rollout import Rollout
from nmmo_gpu.train.run import train
from nmmo_gpu.train.trinity import God, Trinity


class Selective(God):
    every, mutation = 20, 0.02
    rollouts, score = 0, torch.zeros(())

    def collect(self) -> Rollout:
        rollout, config = super().collect(), self.config.env.world
        by_population = (len(rollout.alive), -1, config.populations, config.population_size)
        counts = [part.view(by_population).sum((0, 1, 3)) for part in (rollout.alive, rollout.died)]
        self.rollouts, self.score = self.rollouts + 1, self.score + torch.stack(counts)
        if self.rollouts % self.every == 0:
            distributed.all_reduce_sum([self.score])  # all processes choose the same
            lifetime = self.score[0] / self.score[1].clamp(min=1)
            self.replace(lifetime.argmin(), lifetime.argmax())
            self.score = torch.zeros_like(self.score)
        return rollout

    @torch.no_grad()
    def replace(self, worst: Tensor, best: Tensor) -> None:
        generator = torch.Generator().manual_seed(self.rollouts)
        for weight in self.sword.policy.parameters():
            noise = torch.randn(weight.shape[1:], generator=generator).to(weight.device)
            weight[worst] = weight[best] * (1 + self.mutation * noise)


if __name__ == "__main__":
    train(train_options("chaos"), trinity=Trinity(god=Selective))
