"""Observation of the full game: compared with a slow, plain reference, and by hand. test_masks.py tests the
masks."""

from __future__ import annotations

import pytest
import torch
from support.helpers import draw_world, kinds, place, random_world, unclean
from support.observed import CONFIGS, PLAIN, look

from nmmo_gpu.config import preset
from nmmo_gpu.content import SKILLS, STANDARD, WORKS, Material
from nmmo_gpu.content.tables import combat_level
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import (
    ALIGNMENT,
    ENTITY_ATTRIBUTES,
    GOODS_FEATURES,
    OFFER_FEATURES,
    ObservationLayout,
)

SKILL = {name: i for i, name in enumerate(SKILLS)}
ITEM = {item.name: i for i, item in enumerate(STANDARD.items)}


class Reference:
    """The record of one living agent, cell by cell and choice by choice."""

    def __init__(self, world, realm, slot):
        self.world, self.realm, self.slot, self.cfg = world, realm, slot, world.config
        self.tables, self.content = world.config.tables, world.config.content
        self.kinds = kinds(world.config)
        self.row, self.col = int(world.row[realm, slot]), int(world.col[realm, slot])

    def of(self, name, slot=None):
        value = getattr(self.world, name)[self.realm, self.slot if slot is None else slot]
        return value.tolist()

    def slot_at(self, dr, dc):
        return int(self.world.occupant[self.realm, self.row + dr, self.col + dc]) - 1

    def kind(self, other):
        if other < 0:
            return 0
        if other >= self.cfg.slots:
            return 3 + self.kinds[other]
        size = self.cfg.population_size
        return 1 if other // size == self.slot // size else 2

    def ground(self, dr, dc):
        return int(self.world.material[self.realm, self.row + dr, self.col + dc])

    def immune(self, other):
        return other < self.cfg.slots and self.of("age", other) < self.cfg.immune_ticks

    def max_health(self, other):
        if other >= self.cfg.slots:
            return self.content.npcs[self.kinds[other]].health
        return self.of("level", other)[SKILL["constitution"]] if self.cfg.skills else self.cfg.max_health

    def entity_attributes(self, other):
        level = self.of("level", other)
        npc = other >= self.cfg.slots
        return [
            1 + self.kinds[other] if npc else 0,
            combat_level(level[SKILL["defense"]], level[SKILL["constitution"]], max(level[:3])),
            *([0, 0, 0] if npc else self.of("worn", other)),
            0 if npc else self.of("token", other),
            self.max_health(other),
            int(self.immune(other)),
        ]

    def room(self):
        """Free units, without the one that an open offer reserves."""
        reserved = self.content.items[self.offered()].weight if self.of("offer") else 0
        return self.cfg.capacity - self.weight_of(self.of("inventory")) - reserved

    def weight_of(self, inventory):
        return sum(n * item.weight for n, item in zip(inventory, self.content.items, strict=True))

    def offered(self):
        return (self.of("offer") - 1) % len(self.content.items)

    def works(self):
        return [True] + [name in self.cfg.works and self.can(name) for name in WORKS[1:]]

    def can(self, name):
        inventory = dict(zip((i.name for i in self.content.items), self.of("inventory"), strict=True))
        weight = {item.name: item.weight for item in self.content.items} | {"": 0}
        if name == "eat":
            return any(inventory[i.name] > 0 for i in self.content.items if i.heals or i.feeds)
        if name == "fish" and not self.of_tile("shore"):
            return False
        if name == "mine" and Material.ORE_ROCK not in [self.ground(*step) for step in MOVES[1:]]:
            return False
        for recipe in self.content.recipes:
            grows = recipe.amount * weight[recipe.makes] - recipe.takes_amount * weight[recipe.takes]
            if (
                recipe.work == name
                and self.of("level")[SKILL[recipe.skill]] >= recipe.level
                and self.room() >= max(grows, 0)
                and (not recipe.takes or inventory[recipe.takes] >= recipe.takes_amount)
            ):
                return True
        return False

    def of_tile(self, name):
        return bool(getattr(self.world, name)[self.realm, self.row, self.col])

    def trades(self):
        """Returns (trade_mask, price_mask)."""
        items, prices = self.content.items, self.content.prices
        offer, stock, purse = self.of("offer"), self.of("inventory"), self.of("gold")
        if 0 < offer <= len(items):
            stock[self.offered()] += items[self.offered()].lot
        elif offer:
            purse += prices[self.of("offer_price")]
        room = self.cfg.capacity - self.weight_of(stock)
        buys = [purse >= prices[0] and (item.weight == 0 or room >= 1) for item in items]
        trades = [True] + [n >= item.lot for n, item in zip(stock, items, strict=True)] + buys
        trades.append(offer > 0 and self.of("offer_left") > 1)
        first = [p == 0 for p in range(len(prices))]
        payable = [purse >= price for price in prices] if any(buys) else first
        return trades, [first, [True] * len(prices), payable]

    def targets(self, others):
        fields = []
        for style, (reach, harm) in enumerate(zip(self.cfg.reach, self.cfg.damage, strict=True)):
            able = self.cfg.rolls or harm > 0
            if self.cfg.rolls and style == 1:
                able = self.of("worn")[1] > 0
            possible = [
                able and distance <= reach and not (self.cfg.rolls and self.immune(other))
                for distance, _, _, other in others
            ]
            fields.append([True, *possible] + [False] * (self.cfg.nearest - len(others)))
        return fields

    def fields(self):
        """Returns (name -> value, seen slots)."""
        cfg, world, realm = self.cfg, self.world, self.realm
        side = range(-cfg.vision, cfg.vision + 1)
        others = [
            (max(abs(dr), abs(dc)), dr, dc, self.slot_at(dr, dc))
            for dr in side for dc in side if self.slot_at(dr, dc) >= 0
        ]  # fmt: skip
        others = sorted(o for o in others if o[0] > 0)[: cfg.nearest]
        missing = cfg.nearest - len(others)
        bodies = ("age", "health", "food", "water", "freeze", "damage")
        offer = self.of("offer")
        items = len(self.content.items)
        offers = [0, 0, 0, 0]
        if offer:
            sides = 1 + (offer > items)
            offers = [sides, 1 + self.offered(), 1 + self.of("offer_price"), self.of("offer_left")]
        targets = self.targets(others)
        found = {
            "self": [
                *(min(self.of(name), 32767)
                  for name in ("age", "health", "food", "water", "row", "col", "freeze", "damage")),
                int(self.immune(self.slot)), self.slot // cfg.population_size, *MOVES[self.of("heading")],
            ],
            "entities": [[dr, dc] + [min(self.of(b, o), 127) for b in bodies] for _, dr, dc, o in others]
            + [[0] * 8] * missing,
            "entity_attributes": [self.entity_attributes(o) for *_, o in others] + [[0] * 8] * missing,
            "levels": self.of("level"),
            "goods": [min(self.of("gold"), 32767), self.room()],
            "inventory": [min(n, 32767) for n in self.of("inventory")],
            "offer": offers,
            "market": world.quotes[realm].tolist(),
            "entity_kind": [self.kind(o) for *_, o in others] + [0] * missing,
            "move_mask": [True] + [
                self.ground(*step) in (Material.LAVA, Material.GRASS, Material.SCRUB, Material.FOREST)
                and self.slot_at(*step) < 0 and self.of("freeze") == 0
                for step in MOVES[1:]
            ],
            "style_mask": [s == 0 or any(row[1:]) for s, row in enumerate(targets)],
            "target_mask": targets,
            "alive": True,
            "material": [[self.ground(dr, dc) for dc in side] for dr in side],
            "occupant": [[self.kind(self.slot_at(dr, dc)) for dc in side] for dr in side],
        }  # fmt: skip
        if cfg.works:
            found["work_mask"] = self.works()
        if cfg.exchange:
            found["trade_mask"], found["price_mask"] = self.trades()
        if cfg.tokens:
            found["token_mask"] = [True] * cfg.tokens
        return found, [o for *_, o in others] + [-1] * missing


@pytest.mark.parametrize("name", CONFIGS)
def test_every_record_matches_the_reference(name):
    """Empty slots are included: their records are zero, and no row of a table shows them. tests/cpu and
    tests/kernels compare the other backends with this one."""
    realms, config = CONFIGS[name]
    world = random_world(config, realms, 11, fill=0.8, odds=PLAIN)
    views, seen, records = look(Backend(), world)
    assert not world.alive.all() and world.alive.any()
    assert config.entities == config.slots or world.alive[:, config.slots :].any()
    for realm in range(realms):
        for slot in range(config.slots):
            if not world.alive[realm, slot]:
                assert not records[realm, slot].any() and (seen[realm, slot] == -1).all()
                continue
            fields, others = Reference(world, realm, slot).fields()
            assert seen[realm, slot].tolist() == others
            assert set(fields) == set(views)
            for field, value in fields.items():
                assert views[field][realm, slot].tolist() == value, (field, realm, slot)
                if views[field].dtype == torch.bool and views[field][realm, slot].numel():
                    assert int(views[field].view(torch.uint8)[realm, slot].max()) == 1, "not a valid bool"


def test_feature_names_are_in_the_order_of_the_reference():
    assert ENTITY_ATTRIBUTES == (
        "npc_kind", "combat_level", "sword", "knife", "armor", "token", "max_health", "immune",
    )  # fmt: skip
    assert GOODS_FEATURES == ("gold", "room")
    assert OFFER_FEATURES == ("side", "item", "price", "ticks_left")


@pytest.mark.parametrize("name", CONFIGS)
def test_fields_are_aligned_and_do_not_overlap(name):
    """Entities are aligned to words, so that one store writes a row; every field is at a multiple of its
    size."""
    layout = ObservationLayout(CONFIGS[name][1])
    end = 0
    for field in layout.fields.values():
        if field.pitch:
            end = -(-end // ALIGNMENT) * ALIGNMENT
        assert field.offset == end and field.offset % field.dtype.itemsize == 0
        end += field.bytes
    assert layout.fields["entities"].offset % 8 == layout.fields["entity_attributes"].offset % 8 == 0
    assert end <= layout.bytes < end + ALIGNMENT
    assert layout.header_bytes == layout.fields["material"].offset


def test_fields_of_the_full_game_are_missing_without_it():
    for name in ("law", "chaos"):
        assert list(ObservationLayout(preset(name)).fields) == [
            "self", "entities", "entity_kind", "move_mask", "style_mask", "target_mask", "alive", "material",
            "occupant",
        ]  # fmt: skip


def crowd(**overrides):
    """An agent among others: 0 and 1 of one population, 2 of another; 4 is a chicken, 5 a goblin, 6 a
    bear."""
    settings = {"slots": 4, "populations": 2, "npc_numbers": (1, 1, 1), **overrides}
    world = draw_world(".....\n.....\n..~%.\n.....", "full", fill=".", **settings)
    at = world.config.border + 1
    places = {0: (1, 2), 1: (0, 0), 2: (1, 3), 4: (3, 4), 5: (2, 1), 6: (1, 0)}
    for slot, (row, col) in places.items():
        place(world, 0, slot, at + row, at + col)
    return world


def test_others_are_distinguished_by_kind_and_attributes(any_backend):
    """By hand: 0 sees friend, stranger, chicken, goblin and bear."""
    world = crowd()
    world.level[0, 2] = torch.tensor([3, 7, 2, 9, 22, 50, 50, 50, 50])
    world.worn[0, 2] = torch.tensor([1, 0, 3])
    world.token[0, 2] = 6
    world.age[0, 2] = 3
    views, seen, _ = look(any_backend, world)
    assert seen[0, 0].tolist() == [2, 5, 1, 6, 4, -1, -1, -1]
    assert views["entity_kind"][0, 0].tolist() == [2, 4, 1, 5, 3, 0, 0, 0]
    middle = world.config.vision
    window = views["occupant"][0, 0, middle - 1 : middle + 3, middle - 2 : middle + 3]
    assert window.tolist() == [[1, 0, 0, 0, 0], [5, 0, 1, 2, 0], [0, 4, 0, 0, 0], [0, 0, 0, 0, 3]]
    # Combat level: (5 * (defense + constitution) + 13 * best style) // 20.
    assert views["entity_attributes"][0, 0].tolist() == [
        [0, (5 * (9 + 22) + 13 * 7) // 20, 1, 0, 3, 6, 22, 1],
        [2, (5 * (5 + 15) + 13 * 5) // 20, 0, 0, 0, 0, 15, 0],
        [0, (5 * (1 + 10) + 13 * 1) // 20, 0, 0, 0, 0, 10, 0],
        [3, (5 * (15 + 40) + 13 * 15) // 20, 0, 0, 0, 0, 40, 0],
        [1, (5 * (1 + 5) + 13 * 1) // 20, 0, 0, 0, 0, 5, 0],
        *[[0] * 8] * 3,
    ]


def test_own_levels_goods_offer_and_market(any_backend):
    world = crowd()
    world.level[0, 0] = torch.tensor([1, 2, 3, 4, 5, 6, 7, 99, 9])
    world.gold[0, 0] = 40_000
    world.inventory[0, 0, ITEM["raw goblin"]] = 5
    world.inventory[0, 0, ITEM["tin knife"]] = 70_000
    world.offer[0, 0] = 1 + 22 + ITEM["iron armor"]
    world.offer_price[0, 0], world.offer_left[0, 0] = 15, 44
    world.offer[0, 1] = 1 + ITEM["copper knife"]
    world.offer_price[0, 1], world.offer_left[0, 1] = 0, 1
    world.quotes[0, 3] = torch.tensor([16, 0, 1], dtype=torch.uint8)
    views, _, _ = look(any_backend, world)
    assert views["levels"][0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 99, 9]
    assert views["goods"][0, 0].tolist() == [32767, 28 - 5 - 1], "knives weigh nothing; one unit is reserved"
    assert views["goods"][0, 1].tolist() == [10, 28], "an offer of knives reserves nothing"
    assert views["inventory"][0, 0].tolist() == [5 if i == 7 else 32767 if i == 17 else 0 for i in range(22)]
    assert views["offer"][0].tolist() == [[2, 22, 16, 44], [1, 17, 1, 1], [0] * 4, [0] * 4]
    market = [[16, 0, 1] if i == 3 else [0] * 3 for i in range(22)]
    assert views["market"][0, :3].tolist() == [market] * 3


def test_possible_works_depend_on_place_level_and_room(any_backend):
    """0 is north of water and next to nothing else; 2 is north of the rock."""
    world = crowd()
    views, _, _ = look(any_backend, world)
    assert possible(views, 0) == {"none", "fish"} and possible(views, 2) == {"none", "mine"}
    world.material[0, world.row[0, 2] + 1, world.col[0, 2]] = int(Material.STONE)
    world.inventory[0, 0, ITEM["raw chicken"]] = 28
    world.inventory[0, 2, ITEM["tin ore"]] = 4
    world.inventory[0, 1, ITEM["copper ore"]] = 4
    world.inventory[0, 1, ITEM["cooked goblin"]] = 1
    views, _, _ = look(any_backend, world)
    assert possible(views, 0) == {"none", "cook"}, "no room to fish, but cooking needs none"
    assert possible(views, 2) == {"none"}, "the rock is used up, and tin needs level 5"
    assert possible(views, 1) == {"none", "sword", "knives", "armor", "eat"}


def possible(views, slot):
    return {name for name, can in zip(WORKS, views["work_mask"][0, slot].tolist(), strict=True) if can}


def test_trades_and_prices_count_the_open_offer_as_returned(any_backend):
    """0 has 2 gold and bids 3, so it can bid up to 5. 1 offers its only sword and can offer it again. 2 is
    full and can buy weightless items only."""
    world = crowd()
    world.gold[0, :3] = torch.tensor([2, 0, 10])
    world.offer[0, :2] = torch.tensor([1 + 22 + ITEM["tin ore"], 1 + ITEM["copper sword"]])
    world.offer_price[0, :2] = torch.tensor([2, 9], dtype=torch.uint8)
    world.offer_left[0, :2] = torch.tensor([2, 1])
    world.inventory[0, 2, ITEM["iron ore"]] = 28
    world.inventory[0, 2, ITEM["iron knife"]] = 9
    views, _, _ = look(any_backend, world)
    trades, prices = views["trade_mask"][0].long(), views["price_mask"][0].long()
    sells, buys, withdraws = trades[:, 1:23], trades[:, 23:45], trades[:, 45]
    assert trades[:3, 0].tolist() == [1, 1, 1]
    assert [line.nonzero().flatten().tolist() for line in sells[:3]] == [
        [], [ITEM["copper sword"]], [ITEM["iron ore"]],
    ], "nine knives are no lot"  # fmt: skip
    knives = [ITEM[name] for name in ("copper knife", "tin knife", "iron knife")]
    assert [line.nonzero().flatten().tolist() for line in buys[:3]] == [list(range(22)), [], knives]
    assert withdraws[:3].tolist() == [1, 0, 0], "an offer that expires first cannot be withdrawn"
    assert prices[:3, 0].tolist() == [[1] + [0] * 15] * 3
    assert prices[:3, 1].tolist() == [[1] * 16] * 3
    assert prices[:3, 2].sum(1).tolist() == [4, 1, 5], "1, 2, 3, 5; nothing; and 8"


def test_targets_depend_on_immunity_and_knives(any_backend):
    """In rolled combat immune agents are no targets, and throwing needs a worn knife. Possible rows then need
    not be the first ones."""
    world = crowd()
    world.age[0, 2] = 14
    world.worn[0, 1, 1] = 1
    views, seen, _ = look(any_backend, world)
    assert seen[0, 0, :5].tolist() == [2, 5, 1, 6, 4] and seen[0, 1, :5].tolist() == [6, 0, 5, 2, 4]
    masks = views["target_mask"][0].long()
    assert masks[0, :, :7].tolist() == [[1, 0, 1, 0, 0, 0, 0], [1] + [0] * 6, [1, 0, 1, 1, 1, 1, 0]]
    assert masks[1, :, :7].tolist() == [[1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1, 0], [1, 1, 1, 1, 0, 1, 0]]
    assert views["style_mask"][0, :2].tolist() == [[True, False, True], [True, True, True]]


def test_flat_combat_targets_depend_on_damage_only(any_backend):
    """Without rolls immune agents can be drained, NPCs are targets like others, and no knife is needed."""
    world = crowd(rolls=False, damage=(1, 0, 3), reach=(1, 4, 2))
    world.age[0, 2] = 1
    views, _, _ = look(any_backend, world)
    masks = views["target_mask"][0, 0].long()
    assert masks[:, :7].tolist() == [[1, 1, 1, 0, 0, 0, 0], [1] + [0] * 6, [1, 1, 1, 1, 1, 1, 0]]


def test_max_health_without_skills_is_that_of_the_config(any_backend):
    world = crowd(skills=False, max_health=33)
    views, _, _ = look(any_backend, world)
    assert views["entity_attributes"][0, 0, :5, 6].tolist() == [33, 15, 33, 40, 5]


def test_observing_changes_nothing(any_backend):
    world = random_world(CONFIGS["full"][1], 2, 8, odds=PLAIN)
    before = world.digest()
    look(any_backend, world)
    assert world.digest() == before and unclean(world) == []
