"""Whether a content holds together."""

from __future__ import annotations

from collections.abc import Iterator

from nmmo_gpu.world.content import GEAR, GOLD, MATERIALS, SKILLS, WORKS, Content

MOST_ITEMS = 100
MOST_TIERS = 64
"""Recipes of one work, and drops of one NPC kind."""


def complaint(content: Content) -> str | None:
    """What is wrong first, and what to change; None if all is well."""
    return next(_complaints(content), None)


def _complaints(content: Content) -> Iterator[str]:
    names = [item.name for item in content.items]
    for name in names:
        if name in (GOLD, "") or names.count(name) > 1:
            yield f"item name {name!r} is taken, or empty; choose another."
    if len(names) > MOST_ITEMS:
        yield f"{len(names)} items are too many; choose at most {MOST_ITEMS}."
    for item in content.items:
        if item.gear not in ("", *GEAR):
            yield f"{item.name}: gear = {item.gear!r} is unknown; choose from {', '.join(GEAR)}, or ''."
        for field, low, high in (
            ("level", 1, 99), ("attack", 0, 500), ("strength", 0, 500), ("defense", 0, 500),
            ("heals", 0, 99), ("feeds", 0, 127), ("weight", 0, 1), ("lot", 1, 127),
        ):  # fmt: skip
            if not _within(getattr(item, field), low, high):
                yield f"{item.name}: {field} = {getattr(item, field)!r}; choose from {low} to {high}."
        if item.weight * item.lot > 1:
            yield f"{item.name}: lot = {item.lot} weighs more than an offer's one unit; choose 1."
    for recipe in content.recipes:
        where = f"recipe for {recipe.makes!r}"
        if recipe.work not in WORKS[1:-1]:
            yield f"{where}: work = {recipe.work!r} is unknown; choose from {', '.join(WORKS[1:-1])}."
        if recipe.skill not in SKILLS:
            yield f"{where}: skill = {recipe.skill!r} is unknown; choose from {', '.join(SKILLS)}."
        if recipe.makes not in names or recipe.takes not in ("", *names):
            yield f"{where}: makes or takes an item that is not in items; add it there first."
        if bool(recipe.takes) != (recipe.takes_amount > 0):
            yield f"{where}: takes and takes_amount must come together."
        gathers = recipe.work in ("fish", "mine")
        if gathers and recipe.takes:
            yield f"{where}: {recipe.work} takes nothing; leave takes empty."
        if not gathers and not recipe.takes:
            yield f"{where}: {recipe.work} must take something; name an item."
        if not (_within(recipe.level, 1, 99) and _within(recipe.experience, 0, 10**6)):
            yield f"{where}: choose a level from 1 to 99, and an experience from 0 to 1,000,000."
        if not (_within(recipe.amount, 1, 127) and _within(recipe.takes_amount, 0, 127)):
            yield f"{where}: choose amounts from 1 to 127."
    for work in WORKS:
        if sum(recipe.work == work for recipe in content.recipes) > MOST_TIERS:
            yield f"work {work!r} has more than {MOST_TIERS} recipes; choose fewer."
    materials = {kind.name for kind in MATERIALS.values() if kind.walkable} - {"lava"}
    for kind in content.npcs:
        if not (_within(kind.health, 1, 127) and _within(kind.level, 1, 99)):
            yield f"{kind.name}: choose a health from 1 to 127 and a level from 1 to 99."
        if not kind.habitat or not set(kind.habitat) <= materials:
            yield f"{kind.name}: habitat = {kind.habitat!r}; choose from {', '.join(sorted(materials))}."
        if kind.hunts not in ("never", "provoked", "always"):
            yield f"{kind.name}: hunts = {kind.hunts!r}; choose never, provoked or always."
        if not (_within(kind.sight, 0, 15) and _within(kind.temper, 0, 127)):
            yield f"{kind.name}: choose a sight from 0 to 15 and a temper from 0 to 127."
        if not (_within(kind.experience, 0, 10**6) and _within(kind.number, 0, 6400)):
            yield f"{kind.name}: choose an experience from 0 to 1,000,000 and a number from 0 to 6400."
        if len(kind.drops) > MOST_TIERS:
            yield f"{kind.name} has more than {MOST_TIERS} drops; choose fewer."
        for drop in kind.drops:
            if drop.item not in (GOLD, *names):
                yield f"{kind.name} drops {drop.item!r}, which is not in items; add it there first."
            if not (0 <= drop.chance <= 1 and 1 <= drop.least <= drop.most <= 10**6):
                yield f"{kind.name} drops {drop.item!r}: choose 1 <= least <= most and a chance from 0 to 1."
    prices = content.prices
    if not 1 <= len(prices) <= 32 or list(prices) != sorted(set(prices)) or prices[0] < 1:
        yield "prices must rise, be above 0, and be 1 to 32."


def _within(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high
