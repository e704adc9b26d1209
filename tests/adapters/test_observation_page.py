"""The generated page is the one in docs/."""

from pathlib import Path

from nmmo_gpu.adapters.observation_page import observation_page


def test_the_page_in_docs_is_what_the_code_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "observation.md"
    assert page.read_text() == observation_page(), "run scripts/write_reference.py"
