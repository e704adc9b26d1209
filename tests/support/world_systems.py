"""Small systems for tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nmmo_gpu.config.systems import ActionSpec, ObservationSpec, StateSpec, System, phase


@dataclass(frozen=True)
class Everything(System):
    """Uses all that a system can declare, and keeps a history that any difference would change."""

    bonus: int = 3

    counters = ("shouts", "newborns")

    def state(self, config):
        return {
            "sky": StateSpec("R", torch.int64, "sum of draws", low=0),
            "ground": StateSpec("R H W", torch.uint8, "visits, low byte", high=255),
            "voice": StateSpec("R A", torch.int32, "shouts of the agent", low=-1, at_birth=0, fill=-1),
            "pulse": StateSpec("R S 2", torch.int16, "age by two clocks", low=0, at_birth=7),
        }

    def observation(self, config):
        return {
            "flags": ObservationSpec("flags", torch.bool, (3,)),
            "sky": ObservationSpec("the sky", torch.int16, low=-5, high=1000),
            "voice": ObservationSpec("shouts", torch.uint8, high=255),
        }

    def actions(self, config):
        return {"shout": ActionSpec(4, "silence, and three volumes"), "nod": ActionSpec(2, "no, yes")}

    def begin(self, world):
        self.own(world)["sky"].fill_(world.config.vision)

    @phase(after="movement")
    def speak(self, world, shout, nod):
        own, alive = self.own(world), world.agents(world.alive)
        loud = (shout > 0) & alive & (nod == 0)
        own["voice"] += loud
        self.count(world, "shouts", loud)

    @phase(after="spawning")
    def welcome(self, world):
        self.count(world, "newborns", world.agents(world.alive & (world.age == 0)))

    @phase(before="burial")
    def tick_tock(self, world):
        own = self.own(world)
        own["pulse"][..., 0] += world.alive
        noise = self.draw(world, world.agents(world.age), stream=2, where=world.agents(world.alive))
        own["sky"] += torch.where(world.agents(world.alive), noise[0] & 7, 0).sum(1)
        own["ground"] += (world.occupant > 0).to(torch.uint8)

    def observe(self, world):
        own = self.own(world)
        sky = (own["sky"] % 1000)[:, None]
        flags = torch.stack([world.agents(world.health) > n for n in (1, 5, 9)], -1)
        return {"flags": flags, "sky": sky, "voice": own["voice"].clamp(0, 255)}

    def masks(self, world):
        shouting = torch.ones(1, 1, 4, dtype=torch.bool, device=world.device)
        return {"shout": shouting & (world.agents(world.food)[..., None] > 3)}

    def reward(self, world, before):
        tiles = world.explored - before.explored
        shouted = self.own(world)["voice"] - before.systems[self.name]["voice"]
        return tiles.float() * self.bonus + shouted

    def scalars(self, world):
        return {"sky": self.own(world)["sky"].float()}


@dataclass(frozen=True)
class Bandit(System):
    """Rewards one choice of three where it is possible, which it is for every other slot."""

    good: int = 1

    def state(self, config):
        return {"chosen": StateSpec("R A", torch.int8, "choice in the last tick", low=0, high=2)}

    def actions(self, config):
        return {"lever": ActionSpec(3, "none, and two levers")}

    @phase(after="movement")
    def pull(self, world, lever):
        self.own(world)["chosen"].copy_(lever)

    def masks(self, world):
        slots = torch.arange(world.config.slots, dtype=torch.int64, device=world.device)
        every = torch.ones(1, world.config.slots, 3, dtype=torch.bool, device=world.device)
        return {"lever": every & (slots % 2 == 0)[:, None]}

    def reward(self, world, before):
        return (self.own(world)["chosen"] == self.good).float()
