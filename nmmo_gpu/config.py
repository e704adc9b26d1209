"""What can be set, with what it means; and the presets."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.content import STANDARD, WORKS, Content
from nmmo_gpu.world.content_check import complaint
from nmmo_gpu.world.tables import Tables, tables

MIN_SIDE = 32
MAX_SIDE = 8192
ALL_FREE_SLOTS = -1
SLOWEST_REGROWTH = 1e-4
"""Below this the table of waiting times would have more than some 100,000 entries."""

PAY = (
    "reward_experience", "reward_level", "reward_gold", "reward_kill", "reward_trade", "reward_tile",
    "reward_death",
)  # fmt: skip
"""Weights of EnvConfig that are added to the reward."""

Config = TypeVar("Config")


@dataclass(frozen=True)
class WorldConfig:
    """The rules of one world. The defaults are preset ``chaos``."""

    height: int = 80
    """Rows of the map, tiles, border included; 32 to 8192."""
    width: int = 80
    """Columns of the map, tiles, border included; 32 to 8192."""
    border: int = 9
    """Width of the lava border, tiles. The grass ring on which agents are born lies just inside it."""
    slots: int = 128
    """Agents that a realm can hold at a time."""
    populations: int = 8
    """Populations of equal size that share the slots; each has a policy network of its own."""
    vision: int = 7
    """How far an agent sees, tiles (Chebyshev): its window is 2 * vision + 1 tiles wide."""
    nearest: int = 8
    """Rows of the entity table: how many of the nearest agents in the window are described one by one."""
    births: int = 1
    """New agents per realm and tick, at most; 0 for none, -1 to refill every free slot at once."""
    spawn: Literal["ring", "anywhere"] = "ring"
    """Where agents are born: "ring", on the grass ring inside the lava border; "anywhere", on any tile from
    the ring inwards that one can stand on safely. The ring grows with the side of the map, the land with its
    area: on a large map too few could get in by way of the ring, and fewer to the middle."""
    reach: tuple[int, int, int] = (1, 2, 3)
    """Chebyshev reach of melee, range and mage, tiles."""
    damage: tuple[int, int, int] = (10, 2, 1)
    """Damage of melee, range and mage; an attack also drains as much food and water."""
    freeze_ticks: int = 3
    """What a mage attack that does damage sets its target's freeze to, ticks."""
    immune_ticks: int = 15
    """Age below which an agent takes no damage, ticks."""
    max_health: int = 10
    """Health at birth, and the most there can be."""
    max_food: int = 32
    """Food at birth, and the most there can be."""
    max_water: int = 32
    """Water at birth, and the most there can be."""
    forage: int = 5
    """Food gained from a forest tile, and water gained beside water."""
    heal_above: int = 16
    """Health comes back by 1 a tick while food and water are both above this."""
    regrowth: float = 0.025
    """Chance per tick that an eaten forest tile turns back to forest."""

    # The full game. Each of its systems is off by default, and can be switched on by itself.
    skills: bool = False
    """Experience is gained, and raises levels; without, everybody keeps the levels of birth."""
    works: tuple[str, ...] = ()
    """Choices of the work head that do something, of fish, mine, cook, sword, knives, armor, eat; none if
    empty."""
    rolls: bool = False
    """Attacks hit and hurt by rolls of levels and gear, and throwing takes a knife; without, ``damage`` and
    draining as in v1."""
    npcs: bool = False
    """The NPC kinds of ``content`` live here too."""
    npc_numbers: tuple[int, ...] = ()
    """How many NPCs of each kind; by default what ``content`` says, in proportion to the map's area."""
    exchange: bool = False
    """Agents can offer goods to all others of their realm."""
    tokens: int = 0
    """Words that agents can say to each other, silence included; 0 if they cannot."""
    content: Content = STANDARD
    """Items, recipes, NPC kinds and prices."""
    capacity: int = 28
    """Units that an inventory holds."""
    birth_gold: int = 10
    """Gold of a newborn, where there are goods at all."""
    offer_ticks: int = 100
    """Ticks after which an offer lapses."""
    npc_births: float = 0.05
    """Chance per tick that an empty NPC slot is filled."""
    wander: float = 0.25
    """Chance per tick that an idle NPC takes a step."""
    ore_regrowth: float = 0.25
    """Chance per tick that a used-up orerock can be mined again."""

    def __post_init__(self) -> None:
        check = _Checker(self)
        check.between("height", MIN_SIDE, MAX_SIDE)
        check.between("width", MIN_SIDE, MAX_SIDE)
        check.between("border", 1, MAX_SIDE)
        check.between("slots", 1, 1 << 24)
        check.between("populations", 1, 250)
        check.between("vision", 1, 15)
        check.between("nearest", 1, (2 * self.vision + 1) ** 2 - 1)
        check.between("births", ALL_FREE_SLOTS, self.slots)
        if self.spawn not in ("ring", "anywhere"):
            check.fail("spawn", "is unknown", 'choose "ring" or "anywhere"')
        check.between("immune_ticks", 0, 1 << 15)
        for name in ("max_health", "max_food", "max_water", "freeze_ticks"):
            check.between(name, 1, 127)
        check.between("forage", 0, 127)
        check.between("heal_above", 0, 127)
        if isinstance(self.regrowth, bool) or not isinstance(self.regrowth, (int, float)):
            check.fail("regrowth", "is not a number", "choose a chance per tick from 0 to 1")
        if not (self.regrowth == 0.0 or SLOWEST_REGROWTH <= self.regrowth <= 1.0):
            check.fail(
                "regrowth",
                "is not a chance per tick that can be drawn",
                f"choose a value from 0 to 1 that is 0 (never) or at least {SLOWEST_REGROWTH}",
            )
        self._check_full_game(check)
        if self.slots % self.populations:
            check.fail(
                "slots",
                f"cannot be shared equally by populations = {self.populations}",
                f"choose a multiple of {self.populations}, or another number of populations",
            )
        if self.vision > self.border:
            check.fail(
                "vision",
                f"reaches beyond border = {self.border}: an agent on the ring would see past the map",
                f"choose a vision of at most {self.border}, or a border of at least {self.vision}",
            )
        inside = min(self.height, self.width) - 2 * (self.border + 1)
        if inside < 1:
            side = "height" if self.height <= self.width else "width"
            check.fail(
                side,
                f"leaves no terrain inside border = {self.border} and the ring of one tile",
                f"choose at least {2 * self.border + 3}, or a border of at most "
                f"{(getattr(self, side) - 3) // 2}",
            )
        for name in ("reach", "damage"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != 3 or not all(type(v) is int for v in value):
                check.fail(
                    name, "is not a tuple of integers, one per style", "give three: (melee, range, mage)"
                )
        for reach in self.reach:
            if not 0 <= reach <= self.vision:
                check.fail(
                    "reach",
                    f"holds {reach}, above vision = {self.vision}: targets are chosen in the window"
                    if reach > self.vision
                    else f"holds {reach}, which is negative",
                    f"choose values from 0 to {self.vision}, or a larger vision",
                )
        for damage in self.damage:
            if not 0 <= damage <= 127:
                check.fail("damage", f"holds {damage}", "choose values from 0 to 127")

    def _check_full_game(self, check: _Checker) -> None:
        for name in ("skills", "rolls", "npcs", "exchange"):
            if type(getattr(self, name)) is not bool:
                check.fail(name, "is neither True nor False", "choose one of the two")
        check.is_tuple("works", "some of " + ", ".join(WORKS[1:]))
        for work in self.works:
            if work not in WORKS[1:]:
                check.fail("works", f"holds {work!r}", f"choose from {', '.join(WORKS[1:])}")
        if self.tokens != 0 or type(self.tokens) is not int:
            check.between("tokens", 2, 127)
        check.between("capacity", 1, 127)
        check.between("birth_gold", 0, 1 << 20)
        check.between("offer_ticks", 1, 127)
        for name in ("npc_births", "wander"):
            chance = getattr(self, name)
            if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance <= 1:
                check.fail(name, "is not a chance", "choose a number from 0 to 1")
        if isinstance(self.ore_regrowth, bool) or not isinstance(self.ore_regrowth, (int, float)):
            check.fail("ore_regrowth", "is not a number", "choose a chance per tick from 0 to 1")
        if not (self.ore_regrowth == 0.0 or SLOWEST_REGROWTH <= self.ore_regrowth <= 1.0):
            check.fail(
                "ore_regrowth",
                "is not a chance per tick that can be drawn",
                f"choose a value from 0 to 1 that is 0 (never) or at least {SLOWEST_REGROWTH}",
            )
        wrong = complaint(self.content)
        if wrong is not None:
            raise ConfigError(f"content: {wrong}")
        kinds = len(self.content.npcs)
        check.is_tuple("npc_numbers", f"{kinds} counts, one per NPC kind, or none")
        if self.npc_numbers and (
            len(self.npc_numbers) != kinds
            or not all(type(n) is int and 0 <= n <= 1 << 24 for n in self.npc_numbers)
        ):
            check.fail("npc_numbers", "does not fit content", f"give {kinds} counts, one per NPC kind")
        if self.entities > 1 << 24:
            check.fail(
                "npc_numbers",
                f"and slots = {self.slots} make {self.entities} slots",
                f"choose at most {1 << 24} in all",
            )
        if self.npcs and self.populations + kinds > 126:
            check.fail(
                "populations",
                f"and {kinds} NPC kinds are more than can be told apart",
                f"choose at most {126 - kinds}",
            )
        for kind in self.content.npcs if self.npcs else ():
            if kind.sight > self.vision:
                check.fail(
                    "vision",
                    f"is shorter than the sight of a {kind.name}, {kind.sight}",
                    f"choose at least {kind.sight}, or a shorter sight",
                )

    @property
    def extended(self) -> bool:
        """Whether any system of the full game is on: goods, levels and events are kept then."""
        systems = (self.skills, self.works, self.rolls, self.npcs, self.exchange, self.tokens)
        return any(map(bool, systems))

    @cached_property  # asked for in every phase, and a content takes a while to hash
    def tables(self) -> Tables:
        """The content by number."""
        return tables(self.content)

    @cached_property
    def npc_counts(self) -> tuple[int, ...]:
        """NPC slots of each kind; empty without NPCs."""
        if not self.npcs:
            return ()
        if self.npc_numbers:
            return self.npc_numbers
        area = self.height * self.width
        return tuple((2 * kind.number * area + 6400) // (2 * 6400) for kind in self.content.npcs)

    @property
    def npc_slots(self) -> int:
        """NPCs that a realm can hold at a time."""
        return sum(self.npc_counts)

    @property
    def entities(self) -> int:
        """Slots of agents and NPCs together; those of the agents come first."""
        return self.slots + self.npc_slots

    @property
    def window(self) -> int:
        """Side of an agent's window, tiles."""
        return 2 * self.vision + 1

    @property
    def population_size(self) -> int:
        """Slots per population."""
        return self.slots // self.populations

    @property
    def birthplaces(self) -> int:
        """Tiles on which agents can be born: those of the ring, or all from the ring inwards."""
        ring = 2 * (self.height + self.width - 4 * self.border) - 4
        return ring if self.spawn == "ring" else self.inland

    @property
    def inland(self) -> int:
        """Tiles from the ring inwards, the ring included."""
        return (self.height - 2 * self.border) * (self.width - 2 * self.border)


@dataclass(frozen=True)
class EnvConfig:
    """A batch of realms, where they live and what is paid."""

    world: WorldConfig = dataclasses.field(default_factory=WorldConfig)
    """The rules."""
    realms: int = 64
    """Realms stepped together."""
    seed: int = 0
    """Seed of everything that is left to chance, terrain included; (seed, actions) replays a world."""
    first_realm: int = 0
    """Number of the first realm. A realm's map and dice depend on (seed, its number) alone, so that realms
    can be dealt out to several environments."""
    device: str = "auto"
    """Where the world lives: "auto" (CUDA if there is one, else CPU), "cpu", "cuda", "cuda:1" ..."""
    backend: Literal["auto", "torch", "numba", "triton"] = "auto"
    """Who runs the phases. All give the same bits: "torch" runs anywhere; "numba" is the fast one on a
    CPU, "triton" on a GPU; "auto" takes the fastest that is installed."""
    maps: tuple[str, ...] = ()
    """Tiled .tmx files to play on, dealt out to the realms in turn; generated terrain if empty."""
    shared_map: bool = False
    """Generate one map for all realms instead of one for each."""
    reward: Literal["alive", "death"] = "alive"
    """"alive" pays 1 for each tick survived; "death" pays -1 at death, as v1's native API."""
    reward_experience: float = 0.0
    """Paid on top for each point of experience, of any skill."""
    reward_level: float = 0.0
    """Paid on top for each level gained."""
    reward_gold: float = 0.0
    """Paid on top for each piece of gold gained, and taken off for each spent; what is on offer counts as
    gone."""
    reward_kill: float = 0.0
    """Paid on top for each agent or NPC killed."""
    reward_trade: float = 0.0
    """Paid on top for each trade, to both sides."""
    reward_tile: float = 0.0
    """Paid on top for each tile stood on for the first time."""
    reward_death: float = 0.0
    """Paid on top at death; negative to punish."""
    check_ledger: bool = False
    """Check after each step that goods are conserved, and stop where they are not. Waits for the device."""
    check_actions: bool | None = None
    """Check shape, dtype, device and range of actions at each step. None: on CPU only, since looking at
    the values stalls a GPU."""

    def __post_init__(self) -> None:
        check = _Checker(self)
        check.between("realms", 1, 1 << 22)
        check.between("seed", -(1 << 63), (1 << 63) - 1)
        check.between("first_realm", 0, (1 << 31) - 1)
        if self.reward not in ("alive", "death"):
            check.fail("reward", "is unknown", 'choose "alive" or "death"')
        for name in PAY:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                check.fail(name, "is not a number", "choose a finite number, 0 for nothing")
        if self.check_ledger and not self.world.extended:
            check.fail("check_ledger", "finds no goods in these rules", "choose False, or preset full")
        if self.backend not in ("auto", "torch", "numba", "triton"):
            check.fail("backend", "is unknown", 'choose "auto", "torch", "numba" or "triton"')


class _Checker:
    """Words an error about a field of a config."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def between(self, name: str, low: int, high: int) -> None:
        value = getattr(self.config, name)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(name, "is not an integer", f"choose an integer from {low} to {high}")
        if not low <= value <= high:
            self.fail(name, "is out of range", f"choose a value from {low} to {high}")

    def is_tuple(self, name: str, what: str) -> None:
        if not isinstance(getattr(self.config, name), tuple):
            self.fail(name, "is not a tuple", f"give one of {what}")

    def fail(self, name: str, problem: str, remedy: str) -> None:
        raise ConfigError(f"{name} = {getattr(self.config, name)!r} {problem}; {remedy}.")


PRESETS: dict[str, WorldConfig] = {
    "law": WorldConfig(reach=(1, 4, 4), damage=(0, 0, 0)),
    "chaos": WorldConfig(),
    "full": WorldConfig(
        reach=(1, 4, 4), skills=True, works=WORKS[1:], rolls=True, npcs=True, exchange=True, tokens=8
    ),
    "million": WorldConfig(height=MAX_SIDE, width=MAX_SIDE, slots=1 << 20, births=-1, spawn="anywhere"),
}
"""The named rule sets. ``law`` is v1 without harm, ``chaos`` v1 with it; ``full`` has all systems of the full
game; ``million`` is ``chaos`` for a
million agents in one realm, 64 tiles to each."""


def preset(name: str, **overrides: Any) -> WorldConfig:
    """The preset's rules, with some fields replaced.

    Raises ConfigError for an unknown preset or field, or for values that cannot work together."""
    if name not in PRESETS:
        raise ConfigError(f"preset = {name!r} is unknown; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **overrides)


def replace(config: Config, **overrides: Any) -> Config:
    """``dataclasses.replace`` that names an unknown field, and the known ones, in a ConfigError."""
    known = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    for name in overrides:
        if name not in known:
            raise ConfigError(
                f"{name} = {overrides[name]!r}: {type(config).__name__} has no such field; "
                f"it has {', '.join(known)}."
            )
    replaced: Config = dataclasses.replace(config, **overrides)  # type: ignore[type-var]
    return replaced
