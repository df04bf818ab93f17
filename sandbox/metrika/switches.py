"""What a setting of the simulator is made of: its kind, and a sentence for people."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

Limit = Annotated[int, Field(ge=0)] | None
Seconds = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One setting for people; `default` is a JSON value."""

    name: str
    default: Any
    purpose: str

    def default_shown(self) -> str:
        """The default in a few words: a long list by its length."""
        if isinstance(self.default, list) and len(self.default) > 5:
            return f"{len(self.default)} values"
        if isinstance(self.default, str):
            return self.default
        return "no limit" if self.default is None else json.dumps(self.default)


def explained(purpose: str) -> Any:
    """What a setting does, beside its type. It gets as far as the help, the page and the documentation."""
    return Field(description=purpose)
