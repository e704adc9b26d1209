"""The phases of a tick as compiled loops (numba), for CPUs. Names and results equal those of the torch rules.

Work is divided by realm, and within large realms by tiles or slots if a phase allows it. No two tasks write
the same location, so the number of threads does not affect the result."""

from nmmo_gpu.cpu.burial import burial
from nmmo_gpu.cpu.combat import combat
from nmmo_gpu.cpu.exchange import exchange, quotes
from nmmo_gpu.cpu.growth import growth
from nmmo_gpu.cpu.loot import loot
from nmmo_gpu.cpu.movement import movement
from nmmo_gpu.cpu.npc_births import npc_births
from nmmo_gpu.cpu.npcs import npcs
from nmmo_gpu.cpu.observation import observe
from nmmo_gpu.cpu.random import draw_many
from nmmo_gpu.cpu.regrowth import regrowth
from nmmo_gpu.cpu.spawning import spawning
from nmmo_gpu.cpu.terrain import fill
from nmmo_gpu.cpu.tick import STRETCHES as STRETCHES
from nmmo_gpu.cpu.upkeep import explore, upkeep
from nmmo_gpu.cpu.work import work

PHASES = {
    "npcs": npcs,
    "combat": combat,
    "work": work,
    "exchange": exchange,
    "movement": movement,
    "spawning": spawning,
    "npc_births": npc_births,
    "regrowth": regrowth,
    "upkeep": upkeep,
    "explore": explore,
    "loot": loot,
    "burial": burial,
    "growth": growth,
    "quotes": quotes,
    "observe": observe,
    "draw": draw_many,
    "terrain": fill,
}
"""Functions by the name of their field in ``nmmo_gpu.world.backend.Backend``."""
