"""Every setting of every process, on one page: one class per concern, one line per environment variable.

Read by ``runtime.settings.load``, which only composition roots call; everybody else receives values.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from runtime.failures import Fatal
from runtime.vault import Vault
from schemas.topics import DEFAULT_PARTITIONS

# Where a proxy of one's own stands: on this machine, in a network of containers or of an office (RFC 1918 and 4193).
_PRIVATE_NETWORKS: Final = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")


def _named(name: str, default: Any = ..., **options: Any) -> Any:
    return Field(default, validation_alias=name, **options)


def _accepted_by(check: Callable[[str], object], value: SecretStr) -> SecretStr:
    try:
        check(value.get_secret_value())
    except Fatal as exc:
        raise ValueError(exc) from exc
    return value


class Section(BaseModel):
    """Settings of one concern; fields are read from the environment variable of their alias."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class KafkaSettings(Section):
    """Where the broker and the registry are."""

    bootstrap_servers: str = _named("KAFKA_BOOTSTRAP_SERVERS", min_length=1)
    schema_registry_url: str = _named("SCHEMA_REGISTRY_URL", pattern=r"^https?://")
    partitions: int = _named("GOALPOST_PARTITIONS", DEFAULT_PARTITIONS, ge=1, le=1024)
    replication_factor: int = _named("GOALPOST_REPLICATION_FACTOR", 1, ge=1, le=7)


class DatabaseSettings(Section):
    """Where Postgres is."""

    database_url: SecretStr = _named("DATABASE_URL")

    @field_validator("database_url")
    @classmethod
    def _understood(cls, value: SecretStr) -> SecretStr:
        from runtime.postgres import check_address  # noqa: PLC0415 - psycopg takes 0.15 s to load; not all need it

        return _accepted_by(check_address, value)


class VaultSettings(Section):
    """What secrets at rest are encrypted with."""

    secret_key: SecretStr = _named("GOALPOST_SECRET_KEY")

    @field_validator("secret_key")
    @classmethod
    def _fits(cls, value: SecretStr) -> SecretStr:
        return _accepted_by(Vault, value)


class LogSettings(Section):
    """How a process speaks."""

    level: str = _named("GOALPOST_LOG_LEVEL", "INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")
    json_lines: bool | None = _named("GOALPOST_LOG_JSON", None)
    drain_seconds: float = _named("GOALPOST_DRAIN_SECONDS", 20.0, gt=0)


class HealthSettings(Section):
    """Where a process says how it is, and when it counts as stalled."""

    host: str = _named("GOALPOST_HEALTH_HOST", "127.0.0.1", min_length=1)
    port: int | None = _named("GOALPOST_HEALTH_PORT", None, ge=0, le=65535)
    stalled_seconds: float = _named("GOALPOST_STALLED_SECONDS", 300.0, ge=60, allow_inf_nan=False)

    def port_or(self, own: int) -> int:
        """Return the port for all processes, or else ``own``, that of this kind of process."""
        return own if self.port is None else self.port


class WebhookSettings(Section):
    """The front door."""

    host: str = _named("GOALPOST_WEBHOOK_HOST", "127.0.0.1")
    port: int = _named("GOALPOST_WEBHOOK_PORT", 8080, ge=0, le=65535)
    health_port: int = _named("GOALPOST_WEBHOOK_HEALTH_PORT", 8088, ge=0, le=65535)
    sessions_write_key: SecretStr = _named("GOALPOST_SESSIONS_WRITE_KEY")
    allowed_origins: tuple[str, ...] = _named("GOALPOST_ALLOWED_ORIGINS", ())
    max_body_bytes: int = _named("GOALPOST_MAX_BODY_BYTES", 1024 * 1024, ge=1024, le=2 * 1024 * 1024)
    acknowledge_timeout_seconds: float = _named("GOALPOST_ACKNOWLEDGE_TIMEOUT_SECONDS", 0.5, gt=0)
    spool_dir: Path = _named("GOALPOST_SPOOL_DIR", Path(".goalpost/spool"))
    spool_max_bytes: int = _named("GOALPOST_SPOOL_MAX_BYTES", 1024 * 1024 * 1024, ge=0)
    linger_ms: float = _named("GOALPOST_LINGER_MS", 2.0, ge=0)
    max_requests_per_second: float = _named("GOALPOST_MAX_REQUESTS_PER_SECOND", 0.0, ge=0, allow_inf_nan=False)
    max_row_bytes: int = _named("GOALPOST_MAX_ROW_BYTES", 16 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    max_parameters: int = _named("GOALPOST_MAX_PARAMETERS", 500, ge=16, le=10_000)
    max_fields: int = _named("GOALPOST_MAX_FIELDS", 20_000, ge=16, le=100_000)
    max_parts: int = _named("GOALPOST_MAX_PARTS", 2000, ge=16, le=20_000)
    max_levels: int = _named("GOALPOST_MAX_LEVELS", 250, ge=8, le=1000)
    max_conversions: int = _named("GOALPOST_MAX_CONVERSIONS", 1000, ge=1, le=10_000)
    max_sessions: int = _named("GOALPOST_MAX_SESSIONS", 1000, ge=1, le=10_000)
    max_sessions_per_second: float = _named("GOALPOST_MAX_SESSIONS_PER_SECOND", 1000.0, ge=0, allow_inf_nan=False)
    max_sessions_per_client_and_second: float = _named(
        "GOALPOST_MAX_SESSIONS_PER_CLIENT_AND_SECOND", 50.0, ge=0, allow_inf_nan=False
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = _named(
        "GOALPOST_TRUSTED_PROXIES", tuple(ip_network(one) for one in _PRIVATE_NETWORKS)
    )
    max_in_flight: int = _named("GOALPOST_MAX_IN_FLIGHT", 2000, ge=8)
    max_connections: int = _named("GOALPOST_MAX_CONNECTIONS", 10_000, ge=8)
    request_timeout_seconds: float = _named("GOALPOST_REQUEST_TIMEOUT_SECONDS", 30.0, gt=0, allow_inf_nan=False)

    @field_validator("allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class TimeSettings(Section):
    """What a time without an offset means where neither a webhook nor its counter says."""

    timezone: str = _named("GOALPOST_TIMEZONE", "Europe/Moscow")

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ValueError, OSError, KeyError) as exc:
            raise ValueError("is no time zone; give its IANA name, such as Europe/Moscow") from exc


class StreamSettings(Section):
    """The join."""

    port: int = _named("GOALPOST_STREAM_PORT", 8081, ge=0, le=65535)
    state_dir: Path = _named("GOALPOST_STATE_DIR", Path(".goalpost/state"))
    waiting_delays_seconds: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = _named(
        "GOALPOST_WAITING_DELAYS_SECONDS", (10.0, 30.0, 300.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
    )
    short_wait_seconds: float = _named("GOALPOST_SHORT_WAIT_SECONDS", 60.0, ge=0, allow_inf_nan=False)
    deadline_margin_seconds: float = _named("GOALPOST_DEADLINE_MARGIN_SECONDS", 6 * 3600.0, ge=0)

    @field_validator("waiting_delays_seconds", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class RejectSettings(Section):
    """How much a stage may refuse before it stops; 0 in a row and a share of 1 are no limits."""

    run: int = _named("GOALPOST_REJECT_RUN", 500, ge=0)
    share: float = _named("GOALPOST_REJECT_SHARE", 0.8, gt=0, le=1)


class PostgresSinkSettings(Section):
    """The Postgres sink."""

    port: int = _named("GOALPOST_POSTGRES_SINK_PORT", 8082, ge=0, le=65535)
    batch_rows: int = _named("GOALPOST_BATCH_ROWS", 2000, ge=1, le=50_000)


class MetrikaSettings(Section):
    """The Metrika sink."""

    port: int = _named("GOALPOST_METRIKA_SINK_PORT", 8083, ge=0, le=65535)
    api_url: str = _named("METRIKA_API_URL", "https://api-metrika.yandex.net", pattern=r"^https?://")
    oauth_url: str = _named("YANDEX_OAUTH_URL", "https://oauth.yandex.ru", pattern=r"^https?://")
    client_id: str | None = _named("YANDEX_CLIENT_ID", None)
    client_secret: SecretStr | None = _named("YANDEX_CLIENT_SECRET", None)
    upload_interval_seconds: float = _named("GOALPOST_UPLOAD_INTERVAL_SECONDS", 300.0, gt=0)
    upload_rows: int = _named("GOALPOST_UPLOAD_ROWS", 50_000, ge=1)
    parallel_requests: int = _named("GOALPOST_METRIKA_PARALLEL_REQUESTS", 3, ge=1, le=16)
    requests_per_second: float = _named("GOALPOST_METRIKA_REQUESTS_PER_SECOND", 30.0, gt=0)
    requests_per_day: int = _named("GOALPOST_METRIKA_REQUESTS_PER_DAY", 5000, ge=1)
    answer_seconds: float = _named("GOALPOST_METRIKA_ANSWER_SECONDS", 40.0, gt=0)
    settle_seconds: float = _named("GOALPOST_METRIKA_SETTLE_SECONDS", 120.0, validate_default=True)

    @field_validator("settle_seconds")
    @classmethod
    def _outlasts_a_request(cls, value: float, info: ValidationInfo) -> float:
        # Connecting, sending and the wait for the answer may each take that long. Looked for any sooner, an upload
        # could be taken for absent that is still on its way, and would be sent twice.
        if value < (least := 3 * info.data.get("answer_seconds", 0.0)):
            raise ValueError(f"must be at least {least:g}, three times GOALPOST_METRIKA_ANSWER_SECONDS")
        return value


class FetchSettings(Section):
    """``goalpost fetch bitrix24``."""

    port: int = _named("GOALPOST_FETCH_PORT", 8087, ge=0, le=65535)


class FollowSettings(Section):
    """``goalpost sessions follow``."""

    port: int = _named("GOALPOST_SESSIONS_PORT", 8086, ge=0, le=65535)
    poll_seconds: float = _named("GOALPOST_SESSIONS_POLL_SECONDS", 1.0, gt=0, le=60)


class AccountSettings(Section):
    """The account and counter that ``goalpost up`` and ``demo`` set up instead of the simulator's."""

    access_token: SecretStr | None = _named("METRIKA_ACCESS_TOKEN", None)
    refresh_token: SecretStr | None = _named("METRIKA_REFRESH_TOKEN", None)
    counter_id: int | None = _named("METRIKA_COUNTER_ID", None, gt=0)


SECTIONS: Final[tuple[type[Section], ...]] = (
    KafkaSettings,
    DatabaseSettings,
    VaultSettings,
    LogSettings,
    HealthSettings,
    WebhookSettings,
    TimeSettings,
    StreamSettings,
    RejectSettings,
    PostgresSinkSettings,
    MetrikaSettings,
    FetchSettings,
    FollowSettings,
    AccountSettings,
)
