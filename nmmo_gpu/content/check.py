"""Validation of a content."""

from __future__ import annotations

from collections.abc import Iterator

from nmmo_gpu.content.definitions import (
    GEAR,
    GOLD,
    MATERIALS,
    SKILLS,
    WORKS,
    Content,
    Drop,
    Item,
    NPCKind,
    Recipe,
)

MAX_ITEMS = 100
MAX_TIERS = 64
"""Maximum number of recipes of one work, and of drops of one NPC kind."""
MAX_PRICES = 32
MAX_GOLD = 10**6


def complaint(content: Content) -> str | None:
    """The first problem and its fix; None if the content is valid."""
    return next(_complaints(content), None)


def _complaints(content: Content) -> Iterator[str]:
    if not isinstance(content, Content):
        yield f"{content!r} is not a Content; give one, such as nmmo_gpu.content.STANDARD."
    yield from _misfits(content, "items", Item)
    yield from _misfits(content, "recipes", Recipe)
    yield from _misfits(content, "npcs", NPCKind)
    yield from _misfits(content, "prices", int)
    names = [item.name for item in content.items]
    for name in names:
        if type(name) is not str or name in (GOLD, "") or names.count(name) > 1:
            yield f"item name {name!r} is taken, or empty; choose another."
    if len(names) > MAX_ITEMS:
        yield f"{len(names)} items are too many; choose at most {MAX_ITEMS}."
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
        if not (_within(recipe.amount, 1, 127) and _within(recipe.takes_amount, 0, 127)):
            yield f"{where}: choose amounts from 1 to 127."
        if bool(recipe.takes) != (recipe.takes_amount > 0):
            yield f"{where}: takes and takes_amount must come together."
        gathers = recipe.work in ("fish", "mine")
        if gathers and recipe.takes:
            yield f"{where}: {recipe.work} takes nothing; leave takes empty."
        if not gathers and not recipe.takes:
            yield f"{where}: {recipe.work} must take something; name an item."
        if not (_within(recipe.level, 1, 99) and _within(recipe.experience, 0, 10**6)):
            yield f"{where}: choose a level from 1 to 99, and an experience from 0 to 1,000,000."
    for work in WORKS:
        if sum(recipe.work == work for recipe in content.recipes) > MAX_TIERS:
            yield f"work {work!r} has more than {MAX_TIERS} recipes; choose fewer."
    materials = {kind.name for kind in MATERIALS.values() if kind.walkable} - {"lava"}
    for kind in content.npcs:
        if type(kind.name) is not str:
            yield f"an NPC kind's name is {kind.name!r}; choose a word."
        if not (_within(kind.health, 1, 127) and _within(kind.level, 1, 99)):
            yield f"{kind.name}: choose a health from 1 to 127 and a level from 1 to 99."
        if not _words(kind.habitat) or not set(kind.habitat) <= materials:
            yield f"{kind.name}: habitat = {kind.habitat!r}; choose from {', '.join(sorted(materials))}."
        if kind.hunts not in ("never", "provoked", "always"):
            yield f"{kind.name}: hunts = {kind.hunts!r}; choose never, provoked or always."
        if not (_within(kind.sight, 0, 15) and _within(kind.aggro_ticks, 0, 127)):
            yield f"{kind.name}: choose a sight from 0 to 15 and aggro_ticks from 0 to 127."
        if not (_within(kind.experience, 0, 10**6) and _within(kind.number, 0, 6400)):
            yield f"{kind.name}: choose an experience from 0 to 1,000,000 and a number from 0 to 6400."
        yield from _misfits(kind, "drops", Drop)
        if len(kind.drops) > MAX_TIERS:
            yield f"{kind.name} has more than {MAX_TIERS} drops; choose fewer."
        for drop in kind.drops:
            if drop.item not in (GOLD, *names):
                yield f"{kind.name} drops {drop.item!r}, which is not in items; add it there first."
            many = _within(drop.minimum, 1, 10**6) and _within(drop.maximum, drop.minimum, 10**6)
            if not many or not (isinstance(drop.chance, (int, float)) and 0 <= drop.chance <= 1):
                yield (
                    f"{kind.name} drops {drop.item!r}: choose 1 <= minimum <= maximum, "
                    "and a chance from 0 to 1."
                )
    prices = content.prices
    rising = list(prices) == sorted(set(prices))
    if not 1 <= len(prices) <= MAX_PRICES or not rising or not 1 <= prices[0] <= prices[-1] <= MAX_GOLD:
        yield f"prices must rise, from 1 to {MAX_GOLD:,} at most, and be 1 to {MAX_PRICES}."


def _misfits(table: object, field: str, kind: type) -> Iterator[str]:
    """Complains if a field is not a tuple of rows of a kind."""
    rows = getattr(table, field)
    if not isinstance(rows, tuple):
        yield f"{field} = {rows!r} is not a tuple; give one of {kind.__name__}."
    for row in rows:
        if type(row) is not kind:
            yield f"{field} holds {row!r}, which is not of type {kind.__name__}."


def _words(value: object) -> bool:
    """Whether it is a tuple of strings, at least one."""
    return isinstance(value, tuple) and value != () and all(isinstance(word, str) for word in value)


def _within(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high
