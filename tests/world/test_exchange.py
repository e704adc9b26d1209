"""The exchange: which offers are possible, what is returned, and who trades with whom at which price.

Each exchange in these tests also checks that gold and items are conserved, that inventories stay within their
limits, and that dead agents do not change (``traders.run``)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import assert_same
from support.traders import FEW, auction, bag, bustling, check, deal, give, market, orders, renumbered, run

from nmmo_gpu.content import STANDARD, Content, Item
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.exchange import possible_prices, possible_trades, refund
from nmmo_gpu.world.ledger import holdings

CPU = torch.device("cpu")
NONE = (0, 0, 0)


def offers(world, slot):
    """Returns (offer, index of the price, ticks left) in the first realm."""
    return tuple(int(field[0, slot]) for field in (world.offer, world.offer_price, world.offer_left))


def gold(world):
    return world.gold[0].tolist()


def counted(world, event):
    return world.events[0, :, event].tolist()


def sell(item, price=5):
    return ("sell", item, price)


def buy(item, price=5):
    return ("buy", item, price)


# ------------------------------------------------------------------------------------------- making offers


def test_a_sale_puts_one_unit_into_escrow_and_a_buy_the_gold(any_backend):
    world = market()
    give(world, 0, tin_ore=2, copper_ore=1)
    deal(any_backend, world, a0=sell("tin ore", 12), a1=buy("iron sword", 60))
    assert bag(world, 0) == {"tin ore": 1, "copper ore": 1} and bag(world, 1) == {}
    assert gold(world) == [100, 40, 100, 100, 100, 100, 100]
    assert offers(world, 0) == (1 + 1, 5, 100) and offers(world, 1) == (1 + 22 + 15, 9, 100)
    assert counted(world, Event.OFFERED) == [1, 1, 0, 0, 0, 0, 0]
    assert not world.events[..., Event.WITHDRAWN : Event.BOUGHT + 1].any() and not world.trades.any()


def test_knives_are_sold_in_lots_of_ten(any_backend):
    """Nine are too few. Of 25, two lots can be sold one after the other, the first of which is bought."""
    world = market()
    give(world, 0, tin_knife=9)
    give(world, 1, tin_knife=25)
    deal(any_backend, world, a0=sell("tin knife"), a1=sell("tin knife", 8))
    assert bag(world, 0) == {"tin knife": 9} and bag(world, 1) == {"tin knife": 15}
    assert offers(world, 0) == NONE and counted(world, Event.OFFERED) == [0, 1, 0, 0, 0, 0, 0]
    deal(any_backend, world, a2=buy("tin knife", 8))
    assert bag(world, 2) == {"tin knife": 10} and gold(world)[1:3] == [108, 92]
    assert world.trades[0, 17].tolist() == [1, 8] and int(world.trades.sum()) == 27
    deal(any_backend, world, a1=sell("tin knife", 8))
    deal(any_backend, world, a1=sell("tin knife", 5))
    assert bag(world, 1) == {"tin knife": 5}, "the old lot is returned before the new one is taken"
    deal(any_backend, world, a1=sell("iron knife", 5))
    assert bag(world, 1) == {"tin knife": 5} and offers(world, 1)[0] == 1 + 17


def test_an_impossible_offer_leaves_the_old_one_open(any_backend):
    """Selling an item without having it, buying without enough gold, and withdrawing without an offer."""
    world = market()
    give(world, 1, iron_ore=1)
    deal(any_backend, world, a1=sell("iron ore"), a2=buy("iron ore", 3), a3=buy("tin ore", 1))
    world.gold[:, 3] = 11  # and one gold in escrow
    before = world.clone()
    deal(
        any_backend, world, a0=sell("iron ore"), a1=sell("tin ore", 8), a2=sell("iron ore"),
        a3=buy("tin ore", 18), a4=buy("tin ore", 135), a5="withdraw",
    )  # fmt: skip
    before.offer_left[:, 1:4] -= 1
    assert_same(world, before)


def test_the_old_offer_counts_as_returned_for_a_new_one(any_backend):
    """The last ore on offer is offered again at another price, and gold in escrow is bid again."""
    world = market()
    give(world, 0, iron_ore=1)
    deal(any_backend, world, a0=sell("iron ore"), a1=buy("tin ore", 90), a2=buy("tin ore", 60))
    deal(any_backend, world, a0=sell("iron ore", 8), a1=buy("tin sword", 60), a2=buy("tin ore", 60))
    assert offers(world, 0) == (3, 4, 100) and bag(world, 0) == {}
    assert offers(world, 1) == (1 + 22 + 14, 9, 100) and offers(world, 2) == (1 + 22 + 1, 9, 100)
    assert gold(world)[:3] == [100, 40, 40]
    assert counted(world, Event.OFFERED) == [2, 2, 2, 0, 0, 0, 0]
    assert counted(world, Event.WITHDRAWN) == [1, 1, 1, 0, 0, 0, 0]
    deal(any_backend, world, a0=buy("iron ore", 90), a1=sell("tin sword", 1))
    assert bag(world, 0) == {"iron ore": 1} and gold(world)[:2] == [10, 40], "the ore is returned first"
    assert offers(world, 0) == (1 + 22 + 2, 10, 100) and offers(world, 1) == (1 + 22 + 14, 9, 99)


def test_withdrawing(any_backend):
    world = market()
    give(world, 0, iron_ore=1)
    deal(any_backend, world, a0=sell("iron ore"), a1=buy("tin ore", 90))
    deal(any_backend, world, a0="withdraw", a1="withdraw", a2="withdraw")
    assert bag(world, 0) == {"iron ore": 1} and gold(world) == [100] * 7
    assert offers(world, 0) == offers(world, 1) == NONE
    assert counted(world, Event.WITHDRAWN) == [1, 1, 0, 0, 0, 0, 0]
    assert counted(world, Event.OFFERED) == [1, 1, 0, 0, 0, 0, 0]


def test_an_offer_expires_and_does_not_count_as_withdrawn(any_backend):
    world = market(offer_ticks=3)
    give(world, 0, iron_knife=10)
    deal(any_backend, world, a0=sell("iron knife"), a1=buy("tin ore", 90), a2=buy("tin ore", 8))
    for left in (2, 1):
        deal(any_backend, world)
        assert offers(world, 0) == (1 + 18, 3, left) and offers(world, 1) == (1 + 22 + 1, 10, left)
    give(world, 3, tin_ore=1)
    # The offer expires first: a2's withdrawal finds nothing, a1 makes a new offer, and a3's ore finds no
    # buyer.
    deal(any_backend, world, a1=buy("tin sword", 90), a2="withdraw", a3=sell("tin ore", 8))
    assert bag(world, 0) == {"iron knife": 10} and gold(world) == [100, 10, 100, 100, 100, 100, 100]
    assert offers(world, 0) == offers(world, 2) == NONE and offers(world, 1) == (1 + 22 + 14, 10, 3)
    assert offers(world, 3) == (2, 4, 3)
    assert not any(counted(world, Event.WITHDRAWN)) and counted(world, Event.OFFERED)[:4] == [1, 2, 1, 1]


def test_a_full_inventory_buys_only_weightless_items(any_backend):
    """A bid for an item with weight needs room, and a unit of room is reserved for it."""
    world = market(capacity=4)
    give(world, 0, iron_ore=4)
    give(world, 1, iron_ore=3)
    give(world, 2, iron_ore=4)
    deal(any_backend, world, a0=buy("tin ore"), a1=buy("tin ore"), a2=buy("iron knife"))
    assert [offers(world, slot)[0] for slot in range(3)] == [0, 1 + 22 + 1, 1 + 22 + 18]
    # The reserved unit is free again for another offer of the same agent.
    deal(any_backend, world, a1=buy("copper ore"), a2=buy("copper ore"))
    assert [offers(world, slot)[0] for slot in range(3)] == [0, 1 + 22, 1 + 22 + 18]


def test_a_seller_reserves_room_for_the_item_in_escrow(any_backend):
    """Three units and one on offer fill a capacity of four: a bid for an item with weight is impossible while
    the ore would be returned, another ore can be offered instead, and what is in escrow always fits back."""
    world = market(capacity=4)
    give(world, 0, iron_ore=4)
    deal(any_backend, world, a0=sell("iron ore", 90))
    deal(any_backend, world, a0=buy("tin ore"))
    assert offers(world, 0) == (3, 10, 99) and bag(world, 0) == {"iron ore": 3}
    deal(any_backend, world, a0=sell("iron ore", 60))
    assert offers(world, 0) == (3, 9, 100) and bag(world, 0) == {"iron ore": 3}
    deal(any_backend, world, a0=buy("iron knife", 60))
    assert offers(world, 0) == (1 + 22 + 18, 9, 100) and bag(world, 0) == {"iron ore": 4}


def test_killed_and_dead_agents_take_no_part(any_backend):
    """Neither their choices, nor the ticks left of their offers, nor their offers count."""
    world = market()
    for slot in range(4):
        give(world, slot, iron_ore=2)
    deal(any_backend, world, a0=sell("iron ore"), a1=sell("iron ore"), a2=sell("iron ore", 8))
    world.health[:, 0] = 0
    world.alive[:, 1] = False
    world.offer[:, 1] = 2
    world.inventory[:, 1] = -7
    deal(any_backend, world, a0="withdraw", a1=buy("tin ore"), a4=buy("iron ore", 675), a5=buy("iron ore", 8))
    assert offers(world, 0) == (3, 3, 100) and offers(world, 1) == (2, 3, 100)
    assert gold(world)[2] == 108 and bag(world, 5) == {"iron ore": 1} and offers(world, 2) == NONE


# ---------------------------------------------------------------------------------------------------- trading


def test_the_buyer_pays_the_ask_and_gets_the_rest_of_its_bid_back(any_backend):
    world = market()
    give(world, 0, iron_sword=1)
    deal(any_backend, world, a0=sell("iron sword", 27), a1=buy("iron sword", 90))
    assert bag(world, 0) == {} and bag(world, 1) == {"iron sword": 1}
    assert gold(world)[:2] == [127, 73] and offers(world, 0) == offers(world, 1) == NONE
    assert counted(world, Event.SOLD)[:2] == [1, 0] and counted(world, Event.BOUGHT)[:2] == [0, 1]
    assert world.trades[0, 15].tolist() == [1, 27] and int(world.trades.sum()) == 3 * 28
    assert world.quotes[0, 15].tolist() == [0, 0, 1 + 7] and int(world.quotes.sum()) == 3 * 8


def test_a_bid_below_the_ask_waits_for_a_matching_ask(any_backend):
    """The same holds for a bid for another item."""
    world = market()
    give(world, 0, iron_sword=1, tin_ore=1)
    deal(any_backend, world, a0=sell("iron sword", 27), a1=buy("iron sword", 18), a2=buy("tin sword", 90))
    assert not world.trades.any() and not world.quotes.any()
    deal(any_backend, world, a3=buy("iron sword", 27))
    assert bag(world, 3) == {"iron sword": 1} and offers(world, 1)[0] > 0 and offers(world, 2)[0] > 0


def test_an_auction_by_hand(any_backend):
    """Bids 40, 18, 12, 5 and asks 5, 8, 18: 40 meets 5, 18 meets 8, and 12 is below 18. The prices paid are 5
    and 8."""
    world = market()
    for slot in (1, 3, 6):
        give(world, slot, tin_ore=1)
    deal(
        any_backend, world, a0=buy("tin ore", 12), a1=sell("tin ore", 18), a2=buy("tin ore", 40),
        a3=sell("tin ore", 5), a4=buy("tin ore", 5), a5=buy("tin ore", 18), a6=sell("tin ore", 8),
    )  # fmt: skip
    assert gold(world) == [88, 100, 95, 105, 95, 92, 108]
    assert [bag(world, slot).get("tin ore", 0) for slot in range(7)] == [0, 0, 1, 0, 0, 1, 0]
    assert [offers(world, slot)[0] > 0 for slot in range(7)] == [True, True, False, False, True, False, False]
    assert counted(world, Event.BOUGHT) == [0, 0, 1, 0, 0, 1, 0]
    assert counted(world, Event.SOLD) == [0, 0, 0, 1, 0, 0, 1]
    assert world.trades[0, 1].tolist() == [2, 13] and int(world.quotes[0, 1, 2]) == 1 + 4
    # Nothing more is traded until an agent makes an offer; then the bid of 12 is not matched, because the
    # higher bid takes the ask of 18.
    deal(any_backend, world)
    assert world.trades[0, 1].tolist() == [2, 13] and int(world.quotes[0, 1, 2]) == 1 + 4
    deal(any_backend, world, a2=buy("tin ore", 90))
    assert gold(world)[:3] == [88, 118, 77] and world.trades[0, 1].tolist() == [3, 31]
    assert int(world.quotes[0, 1, 2]) == 1 + 6


def test_the_kth_bid_meets_the_kth_ask_even_if_other_pairs_would_trade_more(any_backend):
    """Bids 8 and 3, asks 2 and 5: 8 meets 2 and 3 is below 5, though 8 with 5 and 3 with 2 would be two
    trades."""
    world = market()
    give(world, 2, tin_ore=1)
    give(world, 3, tin_ore=1)
    deal(
        any_backend, world, a0=buy("tin ore", 3), a1=buy("tin ore", 8), a2=sell("tin ore", 5),
        a3=sell("tin ore", 2),
    )  # fmt: skip
    assert gold(world)[:4] == [97, 98, 100, 102] and bag(world, 1) == {"tin ore": 1}


def test_of_equal_bids_the_earlier_is_first_whatever_the_ids(any_backend):
    """a4, a2, a0 bid in this order and buy in this order."""
    world = market()
    give(world, 6, tin_ore=2)
    deal(any_backend, world, a4=buy("tin ore"))
    deal(any_backend, world, a2=buy("tin ore"))
    deal(any_backend, world, a0=buy("tin ore"), a6=sell("tin ore", 1))
    assert [slot for slot in range(7) if offers(world, slot)[0]] == [0, 2]
    assert gold(world)[6] == 101 and gold(world)[4] == 99, "the buyer pays the ask, although it is later"
    deal(any_backend, world, a6=sell("tin ore", 5))
    assert [slot for slot in range(7) if offers(world, slot)[0]] == [0]


def test_of_equal_asks_the_earlier_is_first_too(any_backend):
    world = market()
    for slot in (1, 5):
        give(world, slot, tin_ore=1)
    deal(any_backend, world, a5=sell("tin ore"))
    deal(any_backend, world, a1=sell("tin ore"))
    deal(any_backend, world, a3=buy("tin ore", 8))
    assert offers(world, 5) == NONE and offers(world, 1)[0] == 2 and gold(world)[3:6] == [95, 100, 105]


def test_a_better_price_is_before_an_earlier_offer(any_backend):
    world = market()
    give(world, 6, tin_ore=1)
    deal(any_backend, world, a0=buy("tin ore", 5))
    deal(any_backend, world, a1=buy("tin ore", 8), a6=sell("tin ore", 2))
    assert bag(world, 1) == {"tin ore": 1} and bag(world, 0) == {}


@pytest.mark.parametrize("far", [0, 1 << 31, 1 << 41])
def test_of_equal_offers_in_one_tick_the_smaller_id_is_first_whatever_the_slots(any_backend, far):
    """Ids differ by one and by more than 32 bits, and are not in the order of the slots."""
    world = market()
    world.entity[:, :5] = torch.tensor([far + 8, far + 7, 3, far + 6, 2])
    world.next_entity.fill_(far + 100)
    for slot in (1, 3, 4):
        give(world, slot, tin_ore=1)
    deal(
        any_backend, world, a0=buy("tin ore"), a2=buy("tin ore"), a1=sell("tin ore"), a3=sell("tin ore"),
        a4=sell("tin ore"),
    )  # fmt: skip
    assert [slot for slot in range(5) if offers(world, slot)[0]] == [1]
    give(world, 4, tin_ore=1)
    deal(any_backend, world, a0=buy("tin ore"), a4=sell("tin ore", 5))
    assert [slot for slot in range(5) if offers(world, slot)[0]] == [4], "time is compared before id"


def test_the_smallest_id_is_first_when_the_order_overflows(any_backend):
    """More agents have been born since than the field of the order can count."""
    world = market()
    world.entity.add_(1 << 45)
    world.next_entity.add_(1 << 45)
    world.entity[:, 3] = 7
    give(world, 5, tin_ore=1)
    deal(any_backend, world, a1=buy("tin ore"), a3=buy("tin ore"), a4=buy("tin ore"), a5=sell("tin ore"))
    assert bag(world, 3) == {"tin ore": 1} and gold(world)[:6] == [100, 95, 100, 95, 95, 105]


def test_realms_do_not_trade_with_each_other(any_backend):
    world = market()
    give(world, 0, tin_ore=1)
    trade, price = orders(world, a0=sell("tin ore", 5), a1=buy("tin ore", 8))
    trade[0, 1] = trade[1, 0] = trade[2] = 0
    run(any_backend, world, trade, price)
    assert not world.trades.any() and (world.offer > 0).sum(1).tolist() == [1, 1, 0]


def test_an_exchange_of_a_hundred_items_and_32_prices(any_backend):
    """These are the maxima. Each item is traded once at its own price by 200 agents with descending ids."""
    content = Content(items=tuple(Item(f"thing {i}", lot=1) for i in range(100)), prices=tuple(range(1, 33)))
    world = market(200, 1, content, offer_ticks=127)
    world.entity.copy_(world.entity.flip(1))
    item = torch.arange(100)
    world.inventory[:, item, item] = 1
    trade = torch.cat((1 + item, 101 + item.flip(0)))[None]
    price = torch.cat((item % 32, item.flip(0) % 32))[None]
    run(any_backend, world, trade, price)
    assert not world.offer.any() and (world.trades[0, :, 0] == 1).all()
    assert torch.equal(world.trades[0, :, 1], 1 + item % 32)
    assert torch.equal(world.gold[0], torch.cat((101 + item % 32, (99 - item % 32).flip(0))))
    assert (world.inventory[0, 100 + item, item.flip(0)] == 1).all()


def test_a_world_without_items_has_an_empty_exchange(any_backend):
    world = market(content=Content(prices=(1, 2)))
    before = world.clone()
    any_backend.exchange(world, torch.ones_like(world.entity), torch.ones_like(world.entity))
    any_backend.quotes(world)
    assert_same(world, before)
    assert possible_trades(world)[0].tolist() == [[[True, False]] * 7] * 3


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_choices_of_any_integer_dtype_and_strides(any_backend, dtype):
    """As they are sliced from a tensor of actions."""
    world, trade, price = bustling(5)
    expected = auction(world, trade, price)
    actions = torch.full((*trade.shape, 5), 113, dtype=dtype)
    actions[..., 2], actions[..., 4] = trade.to(dtype), price.to(dtype)
    run(any_backend, world, actions[..., 2], actions[..., 4])
    assert_same(world, expected)


# ---------------------------------------------------------------------------- comparison with a plain auction


BASE = market(9, 1, FEW, capacity=2, offer_ticks=3)
AGENT = st.tuples(
    st.sampled_from(["well", "well", "well", "well", "killed", "dead"]),
    st.tuples(st.integers(0, 2), st.integers(0, 21), st.integers(0, 1), st.integers(0, 2)),
    st.integers(0, 12), st.integers(0, 8), st.integers(0, 3), st.integers(1, 3), st.integers(0, 9),
    st.integers(0, 3),
)  # fmt: skip
"""Drawn state of an agent: life, inventory, gold, offer with price and ticks left, and its choices."""


@pytest.mark.parametrize("backend", ["torch", "numba"])
@settings(max_examples=300)
@given(agents=st.lists(AGENT, min_size=9, max_size=9), ids=st.permutations(range(1000, 1009)))
def test_any_order_book_matches_a_plain_auction(backend, agents, ids):
    world = BASE.clone()
    trade, price = torch.zeros(2, 1, 9, dtype=torch.int64)
    world.entity[0] = torch.tensor(ids)
    world.next_entity[0] = 1009
    for slot, (how, counts, purse, offer, index, left, choice, at) in enumerate(agents):
        world.alive[0, slot], world.health[0, slot] = how != "dead", 10 * (how != "killed")
        weighs = (offer - 1) % 4 in (0, 2) if offer else False
        ore = min(counts[0], 2 - counts[2] - weighs)
        world.inventory[0, slot] = torch.tensor([max(ore, 0), counts[1], counts[2] - (ore < 0), counts[3]])
        world.gold[0, slot] = purse
        if offer:
            world.offer[0, slot], world.offer_price[0, slot], world.offer_left[0, slot] = offer, index, left
        trade[0, slot], price[0, slot] = choice, at
    check(world)
    expected = auction(world, trade, price)
    run(resolve(backend, CPU), world, trade, price)
    assert_same(world, expected, "the rule, then the plain auction")


@pytest.mark.parametrize("content", [FEW, STANDARD], ids=["few", "standard"])
def test_busy_markets_match_a_plain_auction_in_every_tick(backend, content):
    """Hundreds or dozens of trades occur over 24 exchanges each."""
    met = 0
    for seed in range(8):
        world, trade, price = bustling(seed, slots=41, content=content)
        for time in range(3):
            expected = auction(world, trade, price)
            before = world.clone()
            run(backend, world, trade, price)
            assert_same(world, expected, "the rule, then the plain auction")
            met += int((world.trades - before.trades)[..., 0].sum())
            random = torch.Generator().manual_seed(100 * seed + time)
            trade = torch.randint(2 * len(content.items) + 2, trade.shape, generator=random)
    assert met > (250 if content is FEW else 25)


def test_slots_do_not_matter(any_backend):
    """The same agents in other slots make the same trades."""
    for seed in range(4):
        world, trade, price = bustling(seed)
        order = torch.randperm(13, generator=torch.Generator().manual_seed(seed))
        other = renumbered(world.clone(), order)
        assert not torch.equal(other.entity, world.entity)
        run(any_backend, world, trade, price)
        run(any_backend, other, trade[:, order], price[:, order])
        assert_same(other, renumbered(world, order))
        assert int((world.events[..., Event.SOLD]).sum()) > 0


# ------------------------------------------------------------------------------- masks, quotes, and refunds


def test_quotes_are_the_best_open_offers_of_living_agents(any_backend):
    world = market()
    for slot in (0, 1, 2):
        give(world, slot, tin_ore=1)
    deal(
        any_backend, world, a0=sell("tin ore", 90), a1=sell("tin ore", 27), a2=sell("tin ore", 8),
        a3=buy("tin ore", 3), a4=buy("tin ore", 5), a5=buy("iron ore", 1), a6=buy("iron ore", 2),
    )  # fmt: skip
    world.alive[:, 2] = False
    world.health[:, 6] = 0
    world.quotes.fill_(77)
    before = world.clone()
    any_backend.quotes(world)
    expected = torch.zeros(22, 3, dtype=torch.uint8)
    expected[:, 2] = 77
    expected[1, :2] = torch.tensor([1 + 3, 1 + 7])
    expected[2, 0] = 1
    before.quotes.copy_(expected.expand(3, -1, -1))
    assert_same(world, before)


def test_after_an_exchange_no_bid_is_as_high_as_an_ask(backend):
    for seed in range(20):
        world, trade, price = bustling(seed, slots=31)
        run(backend, world, trade, price)
        backend.quotes(world)
        bid, ask = world.quotes[..., 0], world.quotes[..., 1]
        assert ((bid < ask) | (ask == 0)).all() and (bid > 0).any() and (ask > 0).any()


def test_possible_trades_by_hand():
    world = market(capacity=2)
    give(world, 0, tin_ore=2, iron_knife=10, tin_knife=9)
    world.gold[:, 1] = 0
    world.gold[:, 2] = 7
    deal(Backend(), world, a0=sell("tin ore"), a2=buy("iron ore", 5))
    mask, affordable = possible_trades(world)
    names = world.config.tables.items
    weightless = ["copper knife", "tin knife", "iron knife"]

    def allowed(slot):
        chosen = mask[1, slot].nonzero().squeeze(1).tolist()
        assert chosen[0] == 0
        sides = (
            [names[c - 1] for c in chosen if 0 < c <= 22], [names[c - 23] for c in chosen if 22 < c <= 44],
            45 in chosen,
        )  # fmt: skip
        return sides

    # Its inventory is full until the ore is returned, so it can buy knives only.
    assert allowed(0) == (["tin ore", "iron knife"], weightless, True)
    assert allowed(1) == ([], [], False)
    assert allowed(2) == ([], list(names), True)
    # 100 gold: all prices up to 90; none; 2 and 5 in escrow: up to 5.
    assert affordable[1].tolist() == [11, 0, 4, 11, 11, 11, 11]
    world.offer_left[:, 0] = 1  # it expires before it can be withdrawn
    assert not possible_trades(world)[0][:, 0, 45].any()

    prices = possible_prices(world, *possible_trades(world))
    assert prices[0, :, 0].long().tolist() == [[1] + [0] * 15] * 7 and prices[0, :, 1].all()
    assert prices[0, :, 2].sum(-1).tolist() == [11, 1, 4, 11, 11, 11, 11] and prices[0, :, 2, 0].all()


def test_without_possible_buys_there_is_one_price():
    """The inventory is full, and every item has weight."""
    world = market(content=Content(items=(Item("ore"), Item("meal")), prices=(1, 2, 5)), capacity=2)
    give(world, 0, ore=1, meal=1)
    mask, affordable = possible_trades(world)
    assert mask[0, 0].tolist() == [True, True, True, False, False, False] and int(affordable[0, 0]) == 3
    assert possible_prices(world, mask, affordable)[0, :2].long().tolist() == [
        [[1, 0, 0], [1, 1, 1], [1, 0, 0]], [[1, 0, 0], [1, 1, 1], [1, 1, 1]],
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_exactly_the_possible_trades_have_an_effect(backend, seed):
    """Each choice of each agent is tried by itself at each price: it has an effect if and only if it is
    possible, and affordable if it is a buy. No other agent acts, and offers expire in either case."""
    world, _, _ = bustling(seed, realms=1, slots=6)
    mask, affordable = possible_trades(world)
    living = (world.alive & (world.health > 0))[0]
    idle = world.clone()
    backend.exchange(idle, torch.zeros_like(world.entity), torch.zeros_like(world.entity))
    for slot in range(6):
        assert living[slot] or not mask[0, slot, 1:].any()
        for choice in range(1, 10):
            for index in range(4):
                trade, price = torch.zeros_like(world.entity), torch.zeros_like(world.entity)
                trade[0, slot], price[0, slot] = choice, index
                after = world.clone()
                run(backend, after, trade, price)
                counts = after.events != idle.events
                pays = not 5 <= choice <= 8 or index < int(affordable[0, slot])
                assert bool(counts[0, slot].any()) == bool(mask[0, slot, choice] and pays)


def test_refunds_end_the_offers_of_the_given_agents_only():
    world, _, _ = bustling(3)
    before, goods = world.clone(), holdings(world)
    ends = (torch.arange(13) % 2 == 0).expand(3, -1) & world.alive
    refund(world, ends)
    check(world)
    assert torch.equal(holdings(world), goods) and not world.offer[ends].any()
    assert torch.equal(world.events, before.events)
    for name in ("offer", "offer_price", "offer_left", "inventory", "gold"):
        assert torch.equal(getattr(world, name)[~ends], getattr(before, name)[~ends])
