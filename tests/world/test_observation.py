"""Observation: windows, entity table and masks, compared with a slow, plain reference and with the rules."""

from __future__ import annotations

import pytest
import torch
from support.helpers import ODD, STYLE, draw_world, orders, place, random_world, unclean
from support.observed import look

from nmmo_gpu.config import preset
from nmmo_gpu.content import MATERIALS, Material
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.observation_layout import ENTITY_FEATURES, SELF_FEATURES, ObservationLayout


def reference(world, realm, slot):
    """Returns (fields, seen slots) of one living agent, cell by cell."""
    cfg = world.config
    r, c = int(world.row[realm, slot]), int(world.col[realm, slot])
    population = slot // cfg.population_size
    side = range(-cfg.vision, cfg.vision + 1)

    def slot_at(dr, dc):
        return int(world.occupant[realm, r + dr, c + dc]) - 1

    def kind(other):
        return 0 if other < 0 else 1 if other // cfg.population_size == population else 2

    def stat(name, other, limit):
        return min(int(getattr(world, name)[realm, other]), limit)

    others = [
        (max(abs(dr), abs(dc)), dr, dc, slot_at(dr, dc)) for dr in side for dc in side if slot_at(dr, dc) >= 0
    ]
    others = sorted(o for o in others if o[0] > 0)[: cfg.nearest]
    missing = cfg.nearest - len(others)
    bodies = ("age", "health", "food", "water", "freeze", "damage")
    fields = {
        "self": [stat(name, slot, 32767) for name in SELF_FEATURES[:8]]
        + [int(world.age[realm, slot] < cfg.immune_ticks), population]
        + [*MOVES[int(world.heading[realm, slot])]],
        "entities": [[dr, dc] + [stat(name, o, 127) for name in bodies] for _, dr, dc, o in others]
        + [[0] * 8] * missing,
        "entity_kind": [kind(o) for *_, o in others] + [0] * missing,
        "material": [[int(world.material[realm, r + dr, c + dc]) for dc in side] for dr in side],
        "occupant": [[kind(slot_at(dr, dc)) for dc in side] for dr in side],
        "alive": True,
        "move_mask": [True] + [
            MATERIALS[Material(int(world.material[realm, r + dr, c + dc]))].walkable
            and slot_at(dr, dc) < 0 and int(world.freeze[realm, slot]) == 0
            for dr, dc in MOVES[1:]
        ],
        "target_mask": [
            [True] + [d <= reach and harm > 0 for d, *_ in others] + [False] * missing
            for reach, harm in zip(cfg.reach, cfg.damage, strict=True)
        ],
    }  # fmt: skip
    fields["style_mask"] = [s == 0 or any(row[1:]) for s, row in enumerate(fields["target_mask"])]
    return fields, [o for *_, o in others] + [-1] * missing


def test_feature_names_are_in_the_order_of_the_reference():
    assert SELF_FEATURES == (
        "age", "health", "food", "water", "row", "col", "freeze", "damage", "immune", "population",
        "heading_row", "heading_col",
    )  # fmt: skip
    assert ENTITY_FEATURES == (
        "row_offset", "col_offset", "age", "health", "food", "water", "freeze", "damage",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "realms", "settings"),
    [
        ("chaos", 1, {"slots": 7, "populations": 7}),
        ("law", 3, {"slots": 7, "populations": 1}),
        ("chaos", 3, {"slots": 60, "populations": 5, "nearest": 3}),
        ("chaos", 1, {"slots": 30, "populations": 2, "border": 12, "vision": 1, "reach": (1, 1, 0)}),
        ("chaos", 2, {"slots": 90, "populations": 3, "vision": 5, "nearest": 120, "damage": (1, 0, 2)}),
        ("chaos", 2, {"slots": 30, "populations": 3, "border": 15, "vision": 15, "reach": (1, 15, 9)}),
    ],
)
def test_every_record_matches_the_reference(any_backend, name, realms, settings):
    """Empty slots are included: their records are zero, and no row of a table shows them."""
    world = random_world(preset(name, **{**ODD, **settings}), realms, 11, fill=0.8)
    views, seen, records = look(any_backend, world)
    assert not world.alive.all() and world.alive.any()
    for realm in range(realms):
        for slot in range(world.config.slots):
            if not world.alive[realm, slot]:
                assert not records[realm, slot].any() and (seen[realm, slot] == -1).all()
                continue
            fields, others = reference(world, realm, slot)
            assert seen[realm, slot].tolist() == others
            assert set(fields) == set(views)
            for field, value in fields.items():
                assert views[field][realm, slot].tolist() == value, (field, realm, slot)
                if views[field].dtype == torch.bool:
                    assert int(views[field].view(torch.uint8)[realm, slot].max()) == 1, "not a valid bool"


def test_padding_is_zero(any_backend):
    world = random_world(preset("chaos", **ODD, slots=14, populations=7), 3, 2, fill=1.0)
    _, _, records = look(any_backend, world)
    cleared = records.clone()
    ObservationLayout(world.config).clear_padding(cleared)
    assert torch.equal(records, cleared) and records.any(-1).all()


@pytest.mark.parametrize("full", [False, True])
def test_records_are_written_completely_for_full_and_empty_realms(any_backend, full):
    world = draw_world("0.1" if full else "...", slots=2)
    views, seen, records = look(any_backend, world)
    assert views["alive"].tolist() == [[full, full]]
    assert seen[..., 0].tolist() == ([[1, 0]] if full else [[-1, -1]])
    assert bool(records.any()) == full


def test_the_nearest_are_by_chebyshev_distance_then_in_reading_order(any_backend):
    """Of ten neighbors in view the eight nearest are listed; 0 is in the middle."""
    world = draw_world(
        """
        ...A...
        .1...2.
        ..3....
        ...0.5.
        ..64...
        7......
        8....9.
        """,
        slots=12, populations=3,
    )  # fmt: skip
    views, seen, _ = look(any_backend, world)
    # Distance 1: 3, 6, 4; distance 2: 1, 2, 5; distance 3: A, then 7; 8 and 9 are one too many.
    assert seen[0, 0].tolist() == [3, 6, 4, 1, 2, 5, 10, 7]
    rows = views["entities"][0, 0, :, :2].tolist()
    assert rows == [[-1, -1], [1, -1], [1, 0], [-2, -2], [-2, 2], [0, 2], [-3, 0], [2, -3]]
    assert views["entity_kind"][0, 0].tolist() == [1, 2, 2, 1, 1, 2, 2, 2]
    assert int((views["occupant"][0, 0] != 0).sum()) == 11, "the window shows all"


def test_agents_outside_the_window_are_not_seen(any_backend):
    world = draw_world("0......1.......2")
    views, seen, _ = look(any_backend, world)
    assert [slots[:2].tolist() for slots in seen[0]] == [[1, -1], [0, -1], [-1, -1]]
    assert views["entities"][0, 0, 0, :2].tolist() == [0, 7]


def test_heading_is_that_of_the_last_successful_move(any_backend):
    """Staying and blocked moves do not change it; newly placed agents have none."""
    world = draw_world("....\n.0#.\n....", slots=12)
    seen = []
    for direction in ("stay", "west", "stay", "north", "north", "east", "south", "south"):
        any_backend.movement(world, orders(world, move={0: direction})[0])
        seen.append(look(any_backend, world)[0]["self"][0, 0, -2:].tolist())
    # From the second row to the ring, then back east, and south where the way is free.
    assert seen == [[0, 0], [0, -1], [0, -1], [-1, 0], [-1, 0], [0, 1], [1, 0], [1, 0]]


def test_large_numbers_are_clipped_to_bytes(any_backend):
    world = draw_world("01", max_health=127)
    world.age[0] = torch.tensor([127, 1_000_000])
    world.damage[0] = torch.tensor([300, 3])
    views, _, _ = look(any_backend, world)
    assert views["entities"][0, :, 0].tolist() == [
        [0, 1, 127, 127, 32, 32, 0, 3], [0, -1, 127, 127, 32, 32, 0, 127],
    ]  # fmt: skip
    assert views["self"][0, :, 0].tolist() == [127, 32767]
    assert views["self"][0, :, 7].tolist() == [300, 3]


def test_the_window_shows_current_materials_and_kinds_relative_to_the_observer(any_backend):
    world = draw_world("0f\n12", populations=1, slots=4)
    world.material[0, 8, 9] = int(Material.SCRUB)
    views, _, _ = look(any_backend, world)
    middle = world.config.vision
    assert int(views["material"][0, 0, middle, middle + 1]) == Material.SCRUB
    assert views["occupant"][0, 0, middle : middle + 2, middle : middle + 2].tolist() == [[1, 0], [1, 1]]
    strangers = draw_world("0f\n12", populations=4, slots=4)
    views, _, _ = look(any_backend, strangers)
    assert views["occupant"][0, 0, middle : middle + 2, middle : middle + 2].tolist() == [[1, 0], [2, 2]]
    assert views["occupant"][0, 1, middle - 1 : middle + 1, middle : middle + 2].tolist() == [[2, 0], [1, 2]]


def test_the_window_fits_at_every_edge_of_the_walkable_map(any_backend):
    """On the ring, and on the lava next to it: the window wraps around neither to the other side nor to
    another realm."""
    world = draw_world("....", slots=4, realms=3)
    for realm in range(3):
        for slot, (row, col) in enumerate(((7, 7), (7, 39), (25, 7), (25, 39))):
            place(world, realm, slot, row, col)
    views, seen, _ = look(any_backend, world)
    for realm in range(3):
        for slot in range(4):
            fields, others = reference(world, realm, slot)
            assert seen[realm, slot].tolist() == others == [-1] * 8
            assert views["material"][realm, slot].tolist() == fields["material"]
            lava = sum(value == 0 for line in fields["material"] for value in line)
            assert lava == 15 * 15 - 8 * 8


@pytest.mark.parametrize("crowd", [7, 60])
def test_move_mask_is_exact(backend, crowd):
    """While no other agent acts, a masked move does nothing, and an allowed one succeeds."""
    settings = {**ODD, "border": 7 if crowd == 7 else 12, "slots": crowd, "populations": 1, "births": 0}
    world = random_world(preset("chaos", **settings), 1, 3, fill=0.9)
    views, _, _ = look(backend, world)
    verdicts = set()
    for slot in world.alive[0].nonzero().squeeze(1).tolist():
        assert views["move_mask"][0, slot, 0]
        for move in range(1, 5):
            after = world.clone()
            moves = orders(world)[0]
            moves[0, slot] = move
            backend.movement(after, moves)
            moved = (int(after.row[0, slot]), int(after.col[0, slot])) != (
                int(world.row[0, slot]), int(world.col[0, slot]),
            )  # fmt: skip
            possible = bool(views["move_mask"][0, slot, move])
            assert moved == possible
            if not possible:
                assert after.digest() == world.digest()
            verdicts.add(possible)
    assert verdicts == {True, False}


@pytest.mark.parametrize("name", ["law", "chaos"])
def test_target_and_style_masks_are_exact(backend, name):
    """An attack on a masked row does no harm; an attack on an allowed one changes something."""
    config = preset(name, **ODD, slots=40, populations=4, births=0)
    world = random_world(config, 1, 5, fill=1.0)
    world.food.fill_(15)  # so that every drain shows
    world.damage.zero_()
    views, seen, _ = look(backend, world)
    verdicts = set()
    for slot in world.alive[0].nonzero().squeeze(1).tolist():
        for style in range(3):
            assert views["target_mask"][0, slot, style, 0], "no target is always possible"
            for k, other in enumerate(seen[0, slot].tolist()):
                possible = bool(views["target_mask"][0, slot, style, k + 1])
                assert not (possible and other < 0)
                if other < 0:
                    continue
                after = world.clone()
                _, styles, targets = orders(world)
                styles[0, slot], targets[0, slot] = style, other
                backend.combat(after, styles, targets)
                assert (after.digest() != world.digest()) == possible
                verdicts.add(possible)
            some = bool(views["target_mask"][0, slot, style, 1:].any())
            assert bool(views["style_mask"][0, slot, style]) == (some or style == STYLE["melee"])
    assert verdicts == ({False} if name == "law" else {True, False})


def test_observing_changes_nothing(any_backend):
    world = random_world(preset("chaos", **ODD, slots=7, populations=7), 3, 8)
    before = world.digest()
    look(any_backend, world)
    assert world.digest() == before and unclean(world) == []


@pytest.mark.parametrize("vision", [1, 2, 7, 15])
def test_the_offsets_have_every_cell_once_nearest_first(vision):
    order = ring_order(vision)
    side = range(-vision, vision + 1)
    assert sorted(order) == [(r, c) for r in side for c in side] and order[0] == (0, 0)
    keys = [(max(abs(r), abs(c)), r, c) for r, c in order]
    assert keys == sorted(keys)
