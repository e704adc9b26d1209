"""The generated observation reference matches the page in docs/."""

from pathlib import Path

from nmmo_gpu.adapters.observation_page import observation_page


def test_the_page_in_docs_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "observation.md"
    assert page.read_text() == observation_page(), "run scripts/write_reference.py"
