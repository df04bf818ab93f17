"""Which of the stages that a CRM reports are worth a goal: those that a rule of the webhook names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.events import ANY_STAGE, GoalRule


def ruled(names: Sequence[str], rules: Iterable[GoalRule], *, otherwise: str | None) -> str | None:
    """Return the first of ``names`` (the most exact first) that has a rule.

    Where none has, but there is a rule for any stage, it is ``otherwise``.
    """
    stages = {rule.stage for rule in rules}
    found = next((name for name in names if name in stages), None)
    return otherwise if found is None and ANY_STAGE in stages else found
