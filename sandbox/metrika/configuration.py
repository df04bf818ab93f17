"""Every switch of the simulator: what Metrika's documentation leaves open, and how strict, fast and generous to be."""

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.metrika.currencies import ISO_4217
from sandbox.metrika.switches import Explained, Limit, Seconds, explained


class InvalidConfiguration(ValueError):
    """A setting is unknown or has a value of the wrong kind; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A limit of `None` is no limit. The defaults are what Metrika documents; where it is silent, the strict way."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    uploaded_after_seconds: Annotated[Seconds, explained("age at which an upload is UPLOADED (before: PREPARED)")] = 0.5
    exported_after_seconds: Annotated[Seconds, explained("age at which it is EXPORTED")] = 0.75
    matched_after_seconds: Annotated[Seconds, explained("age at which it is MATCHED: goals and users are counted")] = (
        1.0
    )
    processed_after_seconds: Annotated[
        Seconds, explained("age at which it is PROCESSED or LINKAGE_FAILURE; Metrika takes up to two hours")
    ] = 2.0

    listed_after_seconds: Annotated[Seconds, explained("age at which the list shows an upload; undocumented")] = 0.0
    list_shows_comments: Annotated[bool, explained("off: the list leaves the field out, as no documentation says")] = (
        True
    )

    header_spelling: Annotated[
        Literal["strict", "lenient"], explained("column names: exactly as documented, or in any case (ClientID, yclid)")
    ] = "strict"
    bad_row: Annotated[
        Literal["refuses_file", "lowers_line_quantity"],
        explained("undocumented: does one bad row refuse the file, or only lower line_quantity?"),
    ] = "refuses_file"
    accept_byte_order_mark: Annotated[
        bool, explained("a UTF-8 BOM; a production client sends it, the documentation is silent")
    ] = True
    accept_negative_price: Annotated[bool, explained("a Price below zero (a refund); undocumented")] = False
    accept_comment_punctuation: Annotated[
        bool, explained("a comment of more than the documented digits, Latin and Cyrillic letters")
    ] = False
    supported_currencies: Annotated[
        frozenset[str], explained("a row of another Currency loses Currency and Price, as documented")
    ] = ISO_4217
    rejected_targets: Annotated[frozenset[str], explained("goals whose rows are bad rows: poison for tests")] = (
        frozenset({"metrika_refuses"})
    )
    max_file_bytes: Annotated[int, Field(ge=1), explained("the largest file")] = 1024**3

    goals: Annotated[
        tuple[str, ...], explained("goals of every counter that has none of its own (/_control/goals/{counter})")
    ] = ("crm_conversion",)
    every_goal_known: Annotated[bool, explained("off: a row of another goal counts as goal_not_found")] = True
    every_visitor_known: Annotated[
        bool, explained("off: only visitors with a visit (/_control/visits) within the window are linked")
    ] = True
    unknown_identifiers: Annotated[frozenset[str], explained("identifiers that always count as user_not_found")] = (
        frozenset()
    )
    window_days: Annotated[
        float, Field(ge=0), explained("from the last visit to the processing of the file; later is not linked")
    ] = 21.0

    parallel_requests_per_login: Annotated[Limit, explained("requests at the same time: quota_parallel_requests")] = 3
    requests_per_second_per_ip: Annotated[Limit, explained("quota_requests_by_ip")] = 30
    requests_per_day_per_login: Annotated[Limit, explained("until 00:00 GMT: quota_requests_by_uid")] = 5000
    requests_per_day_per_counter: Annotated[
        Limit, explained("until 00:00 GMT: quota_requests_by_counter_id; only the FAQ names it")
    ] = None
    quota_status: Annotated[Literal[420, 429], explained("the English page says 420, the Russian one 429")] = 429

    strict_tokens: Annotated[bool, explained("take only tokens that were issued here")] = False
    revoked_tokens: Annotated[frozenset[str], explained("access and refresh tokens that are over")] = frozenset()
    invalid_token_status: Annotated[
        Literal[401, 403], explained("403 invalid_token as observed, or 401 unauthorized as also documented")
    ] = 403
    logins: Annotated[dict[str, str], explained("whose token it is, for tokens from elsewhere: {token: login}")] = (
        field(default_factory=dict)
    )
    counters_by_login: Annotated[
        dict[str, tuple[int, ...]],
        explained("counters that a login may use, others are access_denied; a login left out may use all"),
    ] = field(default_factory=dict)
    oauth_clients: Annotated[
        dict[str, str], explained("OAuth applications: {client_id: client_secret}; empty takes every one")
    ] = field(default_factory=dict)
    access_token_seconds: Annotated[int, Field(ge=1), explained("lifetime of new tokens, refresh tokens too")] = (
        31_536_000
    )
    authorization_code_seconds: Annotated[int, Field(ge=1), explained("lifetime of a code")] = 600
    refresh_tokens_rotate: Annotated[bool, explained("a refresh token works once")] = True
    refresh_keeps_access_token: Annotated[
        bool, explained("a refresh may return the access token unchanged, as Yandex says")
    ] = False

    accept_orders_without_id: Annotated[
        bool, explained("CDP orders without an id: new ones each time; the documentation has it both ways")
    ] = True

    clock_offset_seconds: Annotated[
        float, explained("how far the simulator's clock is ahead; /_control/clock moves it on")
    ] = 0.0


_CONFIGURATION = TypeAdapter(Configuration)
SETTINGS = tuple(setting.name for setting in fields(Configuration))


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


def settings_explained() -> list[Explained]:
    """Every setting, its default as JSON, and what it does: for the help, the page and the documentation."""
    properties = _CONFIGURATION.json_schema()["properties"]
    defaults = as_json(Configuration())
    return [Explained(name=name, default=defaults[name], purpose=properties[name]["description"]) for name in SETTINGS]


def problems(error: ValidationError) -> str:
    """One line that names each wrong field and why, without pydantic's links."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
