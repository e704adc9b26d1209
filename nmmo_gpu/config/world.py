"""The configuration of a world: its rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from nmmo_gpu.config.bounds import Bounds, check_fields, refuse
from nmmo_gpu.config.system_check import check_systems
from nmmo_gpu.config.systems import System
from nmmo_gpu.content import STANDARD, WORKS, Content
from nmmo_gpu.content.check import complaint
from nmmo_gpu.content.hashing import hash_once
from nmmo_gpu.content.tables import Tables, tables
from nmmo_gpu.errors import ConfigError

MIN_SIDE = 32
MAX_SIDE = 8192
MAX_SLOTS = 1 << 24
ALL_FREE_SLOTS = -1
SLOWEST_REGROWTH = 1e-4
"""With a smaller value the table of waiting times would have more than about 100,000 entries."""

Reach = Annotated[int, Bounds(ge=0)]
Damage = Annotated[int, Bounds(ge=0, le=127)]


@hash_once
@dataclass(frozen=True)
class WorldConfig:
    """The rules of one world. The defaults are preset ``chaos``."""

    height: Annotated[int, Bounds(ge=MIN_SIDE, le=MAX_SIDE)] = 80
    """Rows of the map, tiles, border included; 32 to 8192."""
    width: Annotated[int, Bounds(ge=MIN_SIDE, le=MAX_SIDE)] = 80
    """Columns of the map, tiles, border included; 32 to 8192."""
    border: Annotated[int, Bounds(ge=1, le=MAX_SIDE)] = 9
    """Width of the lava border, tiles. The grass ring on which agents spawn is just inside it."""
    slots: Annotated[int, Bounds(ge=1, le=MAX_SLOTS)] = 128
    """Maximum number of living agents in a realm."""
    populations: Annotated[int, Bounds(ge=1, le=250)] = 8
    """Populations of equal size that share the slots; each has its own policy network."""
    vision: Annotated[int, Bounds(ge=1, le=15)] = 7
    """Visual range of an agent, tiles (Chebyshev): its window is 2 * vision + 1 tiles wide."""
    nearest: Annotated[int, Bounds(ge=1)] = 8
    """Rows of the entity table: the number of nearest agents in the window that are listed individually."""
    births: Annotated[int, Bounds(ge=ALL_FREE_SLOTS)] = 1
    """Maximum number of new agents per realm and tick; 0 for none, -1 to refill every free slot at once."""
    spawn: Literal["ring", "anywhere"] = "ring"
    """Where agents spawn: "ring", on the grass ring inside the lava border; "anywhere", on any safe walkable
    tile from the ring inwards. The ring grows with the side of the map, the land with its area, so on a large
    map too few agents would enter through the ring, and fewer would reach the middle."""
    reach: tuple[Reach, Reach, Reach] = (1, 2, 3)
    """Chebyshev reach of melee, range and mage, tiles."""
    damage: tuple[Damage, Damage, Damage] = (10, 2, 1)
    """Damage of melee, range and mage; an attack also drains as much food and water."""
    freeze_ticks: Annotated[int, Bounds(ge=1, le=127)] = 3
    """Value to which a mage attack that does damage sets its target's freeze, ticks."""
    immune_ticks: Annotated[int, Bounds(ge=0, le=1 << 15)] = 15
    """Age below which an agent takes no damage, ticks."""
    max_health: Annotated[int, Bounds(ge=1, le=127)] = 10
    """Health at birth, and the maximum health."""
    max_food: Annotated[int, Bounds(ge=1, le=127)] = 32
    """Food at birth, and the maximum food."""
    max_water: Annotated[int, Bounds(ge=1, le=127)] = 32
    """Water at birth, and the maximum water."""
    forage: Annotated[int, Bounds(ge=0, le=127)] = 5
    """Food gained on a forest tile, and water gained next to water."""
    heal_above: Annotated[int, Bounds(ge=0, le=127)] = 16
    """Health regenerates by 1 per tick while food and water are both above this."""
    regrowth: Annotated[float, Bounds(ge=SLOWEST_REGROWTH, le=1, or_zero=True)] = 0.025
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
    npc_numbers: tuple[Annotated[int, Bounds(ge=0, le=MAX_SLOTS)], ...] = ()
    """Number of NPCs of each kind; by default the number in ``content``, in proportion to the map's area."""
    exchange: bool = False
    """Agents can offer goods to all other agents of their realm."""
    tokens: Annotated[int, Bounds(ge=2, le=127, or_zero=True)] = 0
    """Number of tokens that agents can say, including silence; 0 to disable talk."""
    content: Content = STANDARD
    """Items, recipes, NPC kinds and prices."""
    capacity: Annotated[int, Bounds(ge=1, le=127)] = 28
    """Units that an inventory holds."""
    birth_gold: Annotated[int, Bounds(ge=0, le=1 << 20)] = 10
    """Gold of a newborn agent, if any system that uses goods is on."""
    offer_ticks: Annotated[int, Bounds(ge=1, le=127)] = 100
    """Ticks after which an offer expires."""
    npc_births: Annotated[float, Bounds(ge=0, le=1)] = 0.05
    """Probability per tick that an empty NPC slot is filled."""
    wander: Annotated[float, Bounds(ge=0, le=1)] = 0.25
    """Probability per tick that an idle NPC takes a step."""
    ore_regrowth: Annotated[float, Bounds(ge=SLOWEST_REGROWTH, le=1, or_zero=True)] = 0.25
    """Probability per tick that a depleted orerock can be mined again."""
    systems: tuple[System, ...] = ()
    """Systems that are added to the rules, such as ``nmmo_gpu.systems.System`` subclasses of one's own."""

    def __post_init__(self) -> None:
        check_fields(self)
        _check_content(self)
        _check_slots(self)
        _check_map(self)
        _check_window(self)
        _check_npcs(self)
        check_systems(self)

    @property
    def extended(self) -> bool:
        """Whether any system of the full game is on. Goods, levels and events exist only then."""
        systems = (self.skills, self.works, self.rolls, self.npcs, self.exchange, self.tokens)
        return any(map(bool, systems))

    @cached_property
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


def _check_content(config: WorldConfig) -> None:
    wrong = complaint(config.content)
    if wrong is not None:
        raise ConfigError(f"content: {wrong}")
    for work in config.works:
        if work not in WORKS[1:]:
            refuse(config, "works", f"holds {work!r}", f"choose from {', '.join(WORKS[1:])}")


def _check_slots(config: WorldConfig) -> None:
    if config.slots % config.populations:
        refuse(
            config,
            "slots",
            f"cannot be shared equally by populations = {config.populations}",
            f"choose a multiple of {config.populations}, or another number of populations",
        )
    if config.births > config.slots:
        refuse(
            config,
            "births",
            f"is more than slots = {config.slots}",
            f"choose from {ALL_FREE_SLOTS} to {config.slots}, or more slots",
        )


def _check_map(config: WorldConfig) -> None:
    inside = min(config.height, config.width) - 2 * (config.border + 1)
    if inside < 1:
        side = "height" if config.height <= config.width else "width"
        refuse(
            config,
            side,
            f"leaves no terrain inside border = {config.border} and the ring of one tile",
            f"choose at least {2 * config.border + 3}, or a border of at most "
            f"{(getattr(config, side) - 3) // 2}",
        )


def _check_window(config: WorldConfig) -> None:
    if config.vision > config.border:
        refuse(
            config,
            "vision",
            f"reaches beyond border = {config.border}: an agent on the ring would see past the map",
            f"choose a vision of at most {config.border}, or a border of at least {config.vision}",
        )
    others = config.window**2 - 1
    if config.nearest > others:
        refuse(
            config,
            "nearest",
            f"is more than the tiles of a window, without its center, for vision = {config.vision}",
            f"choose from 1 to {others}, or a larger vision",
        )
    if max(config.reach) > config.vision:
        refuse(
            config,
            "reach",
            f"is above vision = {config.vision}: targets are chosen in the window",
            f"choose values from 0 to {config.vision}, or a larger vision",
        )


def _check_npcs(config: WorldConfig) -> None:
    kinds = len(config.content.npcs)
    if config.npc_numbers and len(config.npc_numbers) != kinds:
        refuse(config, "npc_numbers", "does not fit content", f"give {kinds} counts, one per NPC kind")
    if config.entities > MAX_SLOTS:
        refuse(
            config,
            "npc_numbers",
            f"and slots = {config.slots} make {config.entities} slots",
            f"choose at most {MAX_SLOTS} in all",
        )
    if config.npcs and config.populations + kinds > 126:
        refuse(
            config,
            "populations",
            f"and {kinds} NPC kinds are too many to be distinguished",
            f"choose at most {126 - kinds}",
        )
    for kind in config.content.npcs if config.npcs else ():
        if kind.sight > config.vision:
            refuse(
                config,
                "vision",
                f"is shorter than the sight of a {kind.name}, {kind.sight}",
                f"choose at least {kind.sight}, or a shorter sight",
            )
