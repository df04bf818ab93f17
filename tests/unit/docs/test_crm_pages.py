"""The pages about CRMs name every dialect, and every reason for which something is ignored or kept."""

from __future__ import annotations

from pathlib import Path

import pytest

import producers
from producers.dialects import DIALECTS
from producers.dialects.contract import FIELDS
from producers.dialects.outcome import Ignored
from schemas.dead_letter import ErrorClass

PAGES = Path(producers.__file__).parent.parent / "docs" / "crm"
OVERVIEW = (PAGES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_has_a_row_and_a_page_of_the_same_shape(dialect: str) -> None:
    assert f"| `{dialect}` | [{dialect}.md]({dialect}.md) |" in OVERVIEW
    page = (PAGES / f"{dialect}.md").read_text(encoding="utf-8")
    for heading in ("**Connect.**", "**What arrives.**", "**Event id", "**On failure.**"):
        assert heading in page
    assert f"(`{dialect}`)" in page.splitlines()[0]


def test_no_page_is_left_of_a_dialect_that_is_gone() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*DIALECTS, "README"}


def test_every_field_and_every_reason_is_named() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))
    reasons = {ErrorClass.NO_VISITOR, ErrorClass.EVENT_INVALID, ErrorClass.BODY_UNPARSEABLE, *Ignored}
    assert [word for word in (*FIELDS, *(one.value for one in reasons)) if f"`{word}`" not in everything] == []
