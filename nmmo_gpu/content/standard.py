"""The standard content, that of preset ``full``."""

from __future__ import annotations

from nmmo_gpu.content.definitions import GOLD, Content, Drop, Item, NPCKind, Recipe


def _metals() -> tuple[tuple[str, int], ...]:
    return (("copper", 1), ("tin", 5), ("iron", 10))


STANDARD = Content(
    items=(
        Item("copper ore"), Item("tin ore"), Item("iron ore"),
        Item("raw shrimp"), Item("raw sardine"), Item("raw herring"), Item("raw chicken"), Item("raw goblin"),
        Item("cooked shrimp", heals=2, feeds=10), Item("cooked sardine", heals=3, feeds=10),
        Item("cooked herring", heals=5, feeds=10), Item("cooked chicken", heals=3, feeds=10),
        Item("cooked goblin", heals=5, feeds=10),
        Item("copper sword", "sword", 1, attack=10, strength=9),
        Item("tin sword", "sword", 5, attack=15, strength=14),
        Item("iron sword", "sword", 10, attack=19, strength=14),
        Item("copper knife", "knife", 1, attack=5, strength=4, weight=0, lot=10),
        Item("tin knife", "knife", 5, attack=8, strength=7, weight=0, lot=10),
        Item("iron knife", "knife", 10, attack=10, strength=8, weight=0, lot=10),
        Item("copper armor", "armor", 1, defense=55),
        Item("tin armor", "armor", 5, defense=90),
        Item("iron armor", "armor", 10, defense=105),
    ),
    recipes=(
        *(Recipe("fish", "fishing", level, xp, f"raw {fish}")
          for fish, level, xp in (("shrimp", 1, 10), ("sardine", 5, 20), ("herring", 10, 30))),
        *(Recipe("mine", "mining", level, 40 * tier, f"{metal} ore")
          for tier, (metal, level) in enumerate(_metals(), 1)),
        *(Recipe("cook", "cooking", level, xp, f"cooked {food}", 1, f"raw {food}", 1)
          for food, level, xp in (("shrimp", 1, 10), ("sardine", 5, 20), ("herring", 10, 30),
                                  ("chicken", 1, 20), ("goblin", 5, 40))),
        *(Recipe("sword", "smithing", level, 40 * tier, f"{metal} sword", 1, f"{metal} ore", 2)
          for tier, (metal, level) in enumerate(_metals(), 1)),
        *(Recipe("knives", "smithing", level, 20 * tier, f"{metal} knife", 10, f"{metal} ore", 1)
          for tier, (metal, level) in enumerate(_metals(), 1)),
        *(Recipe("armor", "smithing", level, 80 * tier, f"{metal} armor", 1, f"{metal} ore", 4)
          for tier, (metal, level) in enumerate(_metals(), 1)),
    ),
    npcs=(
        NPCKind("chicken", 5, 1, ("grass",), "never", experience=10, number=32,
                drops=(Drop("raw chicken"), Drop("raw chicken", chance=0.5))),
        NPCKind("goblin", 15, 5, ("grass", "scrub", "forest"), "provoked", sight=5, aggro_ticks=5,
        experience=50,
                number=24, drops=(Drop("raw goblin"), Drop(GOLD, 1, 100, 0.5),
                                  Drop("copper sword", chance=0.2))),
        NPCKind("bear", 40, 15, ("forest", "scrub"), "always", sight=3, experience=150, number=8,
                drops=(Drop("iron ore", 2, 2), Drop(GOLD, 50, 250))),
    ),
    prices=(1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450, 675),
)  # fmt: skip
"""The content of preset ``full``."""
