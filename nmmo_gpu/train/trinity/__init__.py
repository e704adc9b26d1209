"""Trinity: the three classes that a researcher overrides, named as in Neural MMO v1.

Sword (the agents) holds the policies and chooses actions. God (a server) owns realms and collects rollouts in
them. Pantheon (the cluster) updates the policies, and holds the optimizer. The default trainer consists of
these three classes; to change one, subclass it and pass it to ``nmmo_gpu.train.run.train``:

    class Bolder(Sword):
        def decide(self, records, world, state): ...

    train(config, trinity=Trinity(sword=Bolder))
"""

from nmmo_gpu.train.trinity.classes import Trinity, trinity_named, trinity_of
from nmmo_gpu.train.trinity.god import God
from nmmo_gpu.train.trinity.pantheon import Pantheon
from nmmo_gpu.train.trinity.sword import DecidedBy, Decision, Sword, sword_with

__all__ = [
    "DecidedBy", "Decision", "God", "Pantheon", "Sword", "Trinity", "sword_with", "trinity_named",
    "trinity_of",
]  # fmt: skip
