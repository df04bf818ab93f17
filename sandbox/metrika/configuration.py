"""Every switch of the simulator: what Metrika's documentation leaves open, and how strict, fast and generous to be."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Limit = Annotated[int, Field(ge=0)] | None
Seconds = Annotated[float, Field(ge=0)]


class InvalidConfiguration(ValueError):
    """A setting is unknown or has a value of the wrong kind; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A limit of `None` is no limit. The defaults are what Metrika documents; where it is silent, the strict way."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    # Age at which an uploading reaches each status. Metrika takes up to two hours; a demo has seconds.
    uploaded_after_seconds: Seconds = 0.5
    matched_after_seconds: Seconds = 1.0
    processed_after_seconds: Seconds = 2.0

    # Undocumented: does one bad row refuse the file, or only lower `line_quantity`?
    bad_row: Literal["refuses_file", "lowers_line_quantity"] = "refuses_file"
    accept_byte_order_mark: bool = True  # a production client sends it; the documentation is silent
    accept_comment_punctuation: bool = False  # documented are digits, Latin and Cyrillic letters
    rejected_targets: frozenset[str] = frozenset({"metrika_refuses"})
    max_file_bytes: Annotated[int, Field(ge=1)] = 1024**3

    # What `GET goals` lists; with `every_goal_known` off, a row of another goal counts as goal_not_found.
    goals: tuple[str, ...] = ("crm_conversion",)
    every_goal_known: bool = True
    unknown_identifiers: frozenset[str] = frozenset()

    parallel_requests_per_token: Limit = 3
    requests_per_second_per_ip: Limit = 30
    requests_per_day_per_token: Limit = 5000
    quota_status: Literal[420, 429] = 429  # the English page says 420, the Russian one 429

    strict_tokens: bool = False  # accept only tokens that this simulator issued
    revoked_tokens: frozenset[str] = frozenset()  # access and refresh tokens alike
    access_token_seconds: Annotated[int, Field(ge=1)] = 31_536_000
    refresh_tokens_rotate: bool = True  # a refresh token works once

    clock_offset_seconds: float = 0.0  # moves the simulator's clock: past midnight, past a token's end


_CONFIGURATION = TypeAdapter(Configuration)


def changed(configuration: Configuration, changes: object) -> Configuration:
    """`configuration` with some settings replaced; raises `InvalidConfiguration` naming every wrong one."""
    if not isinstance(changes, dict):
        raise InvalidConfiguration("the configuration is not a JSON object of settings")
    try:
        return _CONFIGURATION.validate_python({**as_json(configuration), **changes})
    except ValidationError as error:
        raise InvalidConfiguration(problems(error)) from error


def as_json(configuration: Configuration) -> dict[str, Any]:
    """The settings as JSON types, sets as sorted lists."""
    settings: dict[str, Any] = _CONFIGURATION.dump_python(configuration, mode="json")
    sets = {name for name in settings if isinstance(getattr(configuration, name), frozenset)}
    return {name: sorted(value) if name in sets else value for name, value in settings.items()}


def problems(error: ValidationError) -> str:
    """One line that names each wrong field and why, without pydantic's links."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
