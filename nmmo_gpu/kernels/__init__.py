"""The phases of a tick as Triton kernels, for GPUs. Names and results equal those of the torch rules.

No kernel's result depends on the order in which its programs run ("order-free"). A location that several
programs can write is written with integer atomic additions or minima, or by only one of them; each kernel's
docstring says which. A phase that needs the results of all programs starts a new launch."""

from nmmo_gpu.kernels.actions import decode
from nmmo_gpu.kernels.burial import burial
from nmmo_gpu.kernels.combat import combat
from nmmo_gpu.kernels.exchange import exchange, quotes
from nmmo_gpu.kernels.growth import growth
from nmmo_gpu.kernels.loot import loot
from nmmo_gpu.kernels.movement import movement
from nmmo_gpu.kernels.npc_births import npc_births
from nmmo_gpu.kernels.npcs import npcs
from nmmo_gpu.kernels.observation import observe
from nmmo_gpu.kernels.random import draw_many
from nmmo_gpu.kernels.regrowth import regrowth
from nmmo_gpu.kernels.spawning import spawning
from nmmo_gpu.kernels.tick import STRETCHES as STRETCHES
from nmmo_gpu.kernels.upkeep import explore, upkeep
from nmmo_gpu.kernels.work import work

PHASES = {
    "decode": decode,
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
}
"""Functions by the name of their field in ``nmmo_gpu.world.backend.Backend``."""
