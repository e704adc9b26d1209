"""The content of the world as tables.

All materials, items, recipes, NPC kinds and prices that rules and kernels use are defined here. To add one,
make a ``Content`` with one more row and pass it to ``WorldConfig(content=...)``; see
``scripts/add_content.py``."""

from nmmo_gpu.content.definitions import (
    ARMOR,
    CONSTITUTION,
    DEFENSE,
    GEAR,
    GOLD,
    KNIFE,
    MAGE,
    MATERIALS,
    MELEE,
    RANGE,
    SKILLS,
    WORKS,
    Content,
    Drop,
    Item,
    Material,
    MaterialKind,
    NPCKind,
    Recipe,
    walkable_table,
)
from nmmo_gpu.content.standard import STANDARD

__all__ = [
    "ARMOR",
    "CONSTITUTION",
    "DEFENSE",
    "GEAR",
    "GOLD",
    "KNIFE",
    "MAGE",
    "MATERIALS",
    "MELEE",
    "RANGE",
    "SKILLS",
    "STANDARD",
    "WORKS",
    "Content",
    "Drop",
    "Item",
    "Material",
    "MaterialKind",
    "NPCKind",
    "Recipe",
    "walkable_table",
]
