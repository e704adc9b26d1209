"""What can be set, with what it means; and the presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from nmmo_gpu.errors import ConfigError

MIN_SIDE = 32
MAX_SIDE = 8192
ALL_FREE_SLOTS = -1
SLOWEST_REGROWTH = 1e-4
"""Below this the table of waiting times would have more than some 100,000 entries."""

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
                "is no chance per tick that can be drawn",
                f"choose a value from 0 to 1 that is 0 (never) or at least {SLOWEST_REGROWTH}",
            )
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
                check.fail(name, "is no tuple of integers, one per style", "give three: (melee, range, mage)")
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
        rows, columns = self.height - 2 * self.border, self.width - 2 * self.border
        return 2 * (rows + columns) - 4 if self.spawn == "ring" else rows * columns


@dataclass(frozen=True)
class EnvConfig:
    """A batch of realms, where they live and what is paid."""

    world: WorldConfig = dataclasses.field(default_factory=WorldConfig)
    """The rules."""
    realms: int = 64
    """Realms stepped together."""
    seed: int = 0
    """Seed of everything that is left to chance, terrain included; (seed, actions) replays a world."""
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
    check_actions: bool | None = None
    """Check shape, dtype, device and range of actions at each step. None: on CPU only, since looking at
    the values stalls a GPU."""

    def __post_init__(self) -> None:
        check = _Checker(self)
        check.between("realms", 1, 1 << 22)
        check.between("seed", -(1 << 63), (1 << 63) - 1)
        if self.reward not in ("alive", "death"):
            check.fail("reward", "is unknown", 'choose "alive" or "death"')
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

    def fail(self, name: str, problem: str, remedy: str) -> None:
        raise ConfigError(f"{name} = {getattr(self.config, name)!r} {problem}; {remedy}.")


PRESETS: dict[str, WorldConfig] = {
    "law": WorldConfig(reach=(1, 4, 4), damage=(0, 0, 0)),
    "chaos": WorldConfig(),
    "million": WorldConfig(height=MAX_SIDE, width=MAX_SIDE, slots=1 << 20, births=-1, spawn="anywhere"),
}
"""The named rule sets. ``law`` is v1 without harm, ``chaos`` v1 with it; ``million`` is ``chaos`` for a
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
