"""A record that was made the fast way cannot be told from any other."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from schemas.construct import constructor
from schemas.events import Session

GIVEN = {"session_id": "s", "row_id": "r", "session_at": 1, "last_visit_at": 2, "received_at": 3, "creates_row": True}


def test_it_is_the_same_record() -> None:
    fast, usual = constructor(Session)(**GIVEN), Session(**GIVEN)  # type: ignore[arg-type]  # mixed values

    assert fast == usual
    assert type(fast) is Session
    assert (repr(fast), hash(fast)) == (repr(usual), hash(usual))
    assert replace(fast, ym_uid="1") == replace(usual, ym_uid="1")
    assert pickle.loads(pickle.dumps(fast)) == copy.copy(fast) == usual  # noqa: S301 - made here
    assert [getattr(fast, part.name) for part in fields(Session)][-1] is None, "a default"
    with pytest.raises(FrozenInstanceError):
        fast.row_id = "other"  # type: ignore[misc]  # that is the point


def test_a_missing_or_unknown_field_is_an_error() -> None:
    make = constructor(Session)
    with pytest.raises(TypeError, match="creates_row"):
        make(**{name: value for name, value in GIVEN.items() if name != "creates_row"})  # type: ignore[arg-type]  # as above
    with pytest.raises(TypeError, match="nickname"):
        make(**GIVEN, nickname="x")  # type: ignore[call-arg,arg-type]  # as above


@dataclass(frozen=True, slots=True)
class _Checks:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(self.value)


@dataclass(frozen=True, slots=True)
class _Collects:
    values: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Loose:
    value: int


@pytest.mark.parametrize("record_type", [_Checks, _Collects, _Loose])
def test_a_class_that_does_more_than_keep_its_values_is_refused(record_type: type) -> None:
    with pytest.raises(TypeError, match="only keeps its values"):
        constructor(record_type)
