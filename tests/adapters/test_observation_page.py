"""The generated observation reference matches the page in docs/, and systems can be listed."""

from pathlib import Path

from support.systems import Flags, Idle

from nmmo_gpu.adapters.observation_page import observation_page
from nmmo_gpu.adapters.systems_page import systems_page
from nmmo_gpu.config import preset
from nmmo_gpu.world.observation_layout import ALIGNMENT, ObservationLayout


def test_the_page_in_docs_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "observation.md"
    assert page.read_text() == observation_page(), "run scripts/write_reference.py"


def test_the_systems_of_a_config_are_listed() -> None:
    """With settings, fields and their places in the record, heads, state and phases."""
    config = preset("chaos", systems=(Flags(flags=5), Idle(size=2)))
    page, fields = systems_page(config), ObservationLayout(config).fields
    wind, mask = fields["flags.wind"].offset, fields["flag_mask"].offset
    for line in (
        "`support.systems:Flags`, flags = 5, pay = 0.5, windy = True.",
        f"| `flags.wind` | [2] | int16 | -300 to 300 | {wind} | wind to the south and east |",
        f"| `flag_mask` | [6] | bool |  | {mask} | choices of flag that are possible; the first always is: "
        "0 nothing, k to raise flag k |",
        "| `flag` | 6 | 0 nothing, k to raise flag k |",
        "| `flags.held` | [R, A] | int8 | 0 to 5 | flag, 0 for none |",
        "| `flags.counts` | [R, 1] | int64 | 0 and more | events so far: raised |",
        "Phases: `hoist` after upkeep.",
        "`support.systems:Idle`, size = 2.",
    ):
        assert line in page.splitlines(), line
    assert systems_page(preset("chaos")) == ""


def test_fields_of_systems_lie_where_the_page_says() -> None:
    """After the fields of the rules and before the windows: int16 at even bytes, single bytes, then masks."""
    config = preset("full", systems=(Idle(size=1), Flags()))
    layout, stock = ObservationLayout(config), ObservationLayout(preset("full"))
    names = list(layout.fields)
    assert names[names.index("token_mask") + 1 :] == [
        "flags.wind", "flags.held", "flags.none", "flags.is_held", "flags.drift", "flag_mask", "material",
        "occupant",
    ]  # fmt: skip
    assert layout.fields["flags.wind"].offset % 2 == 0
    assert layout.stock_bytes == stock.stock_bytes <= stock.header_bytes
    end = layout.fields["flag_mask"].offset + layout.fields["flag_mask"].bytes
    assert end <= layout.header_bytes == layout.fields["material"].offset < end + ALIGNMENT
