"""The configuration of worlds and environments, and the presets."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from nmmo_gpu.content import STANDARD, WORKS, Content
from nmmo_gpu.content.check import complaint
from nmmo_gpu.content.tables import Tables, tables
from nmmo_gpu.errors import ConfigError

MIN_SIDE = 32
MAX_SIDE = 8192
ALL_FREE_SLOTS = -1
SLOWEST_REGROWTH = 1e-4
"""With a smaller value the table of waiting times would have more than about 100,000 entries."""

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
    """Width of the lava border, tiles. The grass ring on which agents spawn is just inside it."""
    slots: int = 128
    """Maximum number of living agents in a realm."""
    populations: int = 8
    """Populations of equal size that share the slots; each has its own policy network."""
    vision: int = 7
    """Visual range of an agent, tiles (Chebyshev): its window is 2 * vision + 1 tiles wide."""
    nearest: int = 8
    """Rows of the entity table: the number of nearest agents in the window that are listed individually."""
    births: int = 1
    """Maximum number of new agents per realm and tick; 0 for none, -1 to refill every free slot at once."""
    spawn: Literal["ring", "anywhere"] = "ring"
    """Where agents spawn: "ring", on the grass ring inside the lava border; "anywhere", on any safe walkable
    tile from the ring inwards. The ring grows with the side of the map, the land with its area, so on a large
    map too few agents would enter through the ring, and fewer would reach the middle."""
    reach: tuple[int, int, int] = (1, 2, 3)
    """Chebyshev reach of melee, range and mage, tiles."""
    damage: tuple[int, int, int] = (10, 2, 1)
    """Damage of melee, range and mage; an attack also drains as much food and water."""
    freeze_ticks: int = 3
    """Value to which a mage attack that does damage sets its target's freeze, ticks."""
    immune_ticks: int = 15
    """Age below which an agent takes no damage, ticks."""
    max_health: int = 10
    """Health at birth, and the maximum health."""
    max_food: int = 32
    """Food at birth, and the maximum food."""
    max_water: int = 32
    """Water at birth, and the maximum water."""
    forage: int = 5
    """Food gained on a forest tile, and water gained next to water."""
    heal_above: int = 16
    """Health regenerates by 1 per tick while food and water are both above this."""
    regrowth: float = 0.025
    """Probability per tick that an eaten forest tile regrows."""

    # The full game. Each of its systems is off by default and can be enabled separately.
    skills: bool = False
    """Agents gain experience, which raises their levels. If off, agents keep their initial levels."""
    works: tuple[str, ...] = ()
    """Choices of the work head that are enabled, from fish, mine, cook, sword, knives, armor, eat; empty for
    none."""
    rolls: bool = False
    """Hits and damage are rolled from levels and gear, and throwing requires a knife. If off, attacks use
    ``damage`` and drain as in v1."""
    npcs: bool = False
    """The NPC kinds of ``content`` live in the world."""
    npc_numbers: tuple[int, ...] = ()
    """Number of NPCs of each kind; by default the number in ``content``, in proportion to the map's area."""
    exchange: bool = False
    """Agents can offer goods to all other agents of their realm."""
    tokens: int = 0
    """Number of tokens that agents can say, including silence; 0 to disable talk."""
    content: Content = STANDARD
    """Items, recipes, NPC kinds and prices."""
    capacity: int = 28
    """Units that an inventory holds."""
    birth_gold: int = 10
    """Gold of a newborn agent, if any system that uses goods is on."""
    offer_ticks: int = 100
    """Ticks after which an offer expires."""
    npc_births: float = 0.05
    """Probability per tick that an empty NPC slot is filled."""
    wander: float = 0.25
    """Probability per tick that an idle NPC takes a step."""
    ore_regrowth: float = 0.25
    """Probability per tick that a depleted orerock can be mined again."""

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
                f"and {kinds} NPC kinds are too many to be distinguished",
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
        """Whether any system of the full game is on. Goods, levels and events exist only then."""
        systems = (self.skills, self.works, self.rolls, self.npcs, self.exchange, self.tokens)
        return any(map(bool, systems))

    @cached_property  # used in every phase, and hashing a content is slow
    def tables(self) -> Tables:
        """The content as numbers."""
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
        """Slots of agents and NPCs together; the agents' slots come first."""
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
    """A batch of realms: rules, device and rewards."""

    world: WorldConfig = dataclasses.field(default_factory=WorldConfig)
    """The rules."""
    realms: int = 64
    """Realms stepped together."""
    seed: int = 0
    """Seed of all random numbers, including the terrain; (seed, actions) reproduces a world."""
    first_realm: int = 0
    """Number of the first realm. A realm's map and random numbers depend only on (seed, its number), so
    realms can be distributed over several environments."""
    device: str = "auto"
    """Device of the world: "auto" (CUDA if available, else CPU), "cpu", "cuda", "cuda:1" ..."""
    backend: Literal["auto", "torch", "numba", "triton"] = "auto"
    """Implementation of the phases. All give identical bits: "torch" runs anywhere; "numba" is the fastest on
    a CPU, "triton" on a GPU; "auto" selects the fastest that is installed."""
    maps: tuple[str, ...] = ()
    """Tiled .tmx files to play on, assigned to the realms in turn; empty for generated terrain."""
    shared_map: bool = False
    """Generate one map for all realms instead of one per realm."""
    reward: Literal["alive", "death"] = "alive"
    """"alive" gives 1 for each tick survived; "death" gives -1 at death, as v1's native API does."""
    reward_experience: float = 0.0
    """Added for each point of experience, in any skill."""
    reward_level: float = 0.0
    """Added for each level gained."""
    reward_gold: float = 0.0
    """Added for each piece of gold gained, and subtracted for each spent; gold in an open offer counts as
    spent."""
    reward_kill: float = 0.0
    """Added for each agent or NPC killed."""
    reward_trade: float = 0.0
    """Added for each trade, for both sides."""
    reward_tile: float = 0.0
    """Added for each tile visited for the first time."""
    reward_death: float = 0.0
    """Added at death; use a negative value as a penalty."""
    check_ledger: bool = False
    """Check after each step that goods are conserved, and stop if they are not. Synchronises the device."""
    check_actions: bool | None = None
    """Check shape, dtype, device and range of actions in each step. None: only on a CPU, because reading
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
            check.fail("check_ledger", "needs rules with goods", "choose False, or preset full")
        if self.backend not in ("auto", "torch", "numba", "triton"):
            check.fail("backend", "is unknown", 'choose "auto", "torch", "numba" or "triton"')


class _Checker:
    """Formats errors about a field of a config."""

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
"""The named rule sets. ``law`` is v1 without damage, ``chaos`` is v1 with damage, ``full`` has all systems of
the full game, and ``million`` is ``chaos`` for a million agents in one realm, with 64 tiles per agent."""


def preset(name: str, **overrides: Any) -> WorldConfig:
    """The preset's rules, with some fields replaced.

    Raises ConfigError for an unknown preset or field, or for values that cannot work together."""
    if name not in PRESETS:
        raise ConfigError(f"preset = {name!r} is unknown; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **overrides)


def replace(config: Config, **overrides: Any) -> Config:
    """Like ``dataclasses.replace``, but raises ConfigError for an unknown field and lists the known ones."""
    known = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    for name in overrides:
        if name not in known:
            raise ConfigError(
                f"{name} = {overrides[name]!r}: {type(config).__name__} has no such field; "
                f"it has {', '.join(known)}."
            )
    replaced: Config = dataclasses.replace(config, **overrides)  # type: ignore[type-var]
    return replaced
