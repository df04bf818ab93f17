"""What an upload counts, and the status that its age gives it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.csv_file import BadRow, Row
from sandbox.metrika.site import Site, audience
from sandbox.metrika.uploading import Counts, Intake, Uploading, status

NOW = 1_700_000_000.0
DEFAULT = Configuration()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "state.sqlite")
    yield made
    made.close()


def row(identifier: str, target: str = "crm_conversion") -> Row:
    return Row(2, identifier, None, None, None, target, 1_600_000_000, None, None)


def test_rows_are_counted_by_goal_and_visitor(site: Site) -> None:
    configuration = Configuration(every_goal_known=False, unknown_identifiers=frozenset({"9"}))
    intake = Intake(audience(site, 1, configuration, now=NOW))
    intake.admit([row("1"), row("2", "other"), row("9"), row("9", "other")])

    assert intake.counts() == Counts(source=4, line=4, goal_not_found=2, user_not_found=2, linked=1)


def test_a_bad_row_refuses_the_file_or_lowers_the_line_quantity(site: Site) -> None:
    bad = BadRow(line=3, reason="Price is wrong")
    assert Intake(audience(site, 1, DEFAULT, now=NOW)).admit([row("1"), bad]) == bad

    configuration = Configuration(bad_row="lowers_line_quantity")
    lenient = Intake(audience(site, 1, configuration, now=NOW))
    assert lenient.admit([row("1"), bad]) == [row("1")]
    assert (lenient.counts().source, lenient.counts().line) == (2, 1)


@pytest.mark.parametrize(("user_not_found", "last"), [(0, "PROCESSED"), (1, "PROCESSED"), (2, "LINKAGE_FAILURE")])
def test_the_status_follows_the_age(user_not_found: int, last: str) -> None:
    counts = Counts(source=2, line=2, goal_not_found=0, user_not_found=user_not_found, linked=2 - user_not_found)
    uploading = Uploading(
        id=1, counter=1, type="BASIC", client_id_type="CLIENT_ID", comment="", accepted_at=NOW, counts=counts
    )

    ages = [0.0, 0.5, 0.75, 1.0, 2.0]
    expected = ["PREPARED", "UPLOADED", "EXPORTED", "MATCHED", last]
    assert [status(uploading, NOW + age, DEFAULT) for age in ages] == expected
