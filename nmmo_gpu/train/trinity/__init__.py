"""Trinity: the three classes that a researcher overrides, named as in Neural MMO v1.

Sword (the agents) holds the policies and decides. God (a server) owns realms and collects what happens in
them. Pantheon (the cluster) learns, and keeps what has been learned. The stock trainer is made of these
three; to change one, subclass it and hand it to ``nmmo_gpu.train.run.train``:

    class Bolder(Sword):
        def decide(self, records, world, memory): ...

    train(config, trinity=Trinity(sword=Bolder))
"""

from dataclasses import dataclass

from nmmo_gpu.train.trinity.god import God
from nmmo_gpu.train.trinity.pantheon import Pantheon
from nmmo_gpu.train.trinity.sword import DecidedBy, Decision, Sword, sword_named, sword_with

__all__ = ["DecidedBy", "Decision", "God", "Pantheon", "Sword", "Trinity", "sword_named", "sword_with"]


@dataclass
class Trinity:
    """Which classes make up a run."""

    pantheon: type[Pantheon] = Pantheon
    god: type[God] = God
    sword: type[Sword] = Sword
