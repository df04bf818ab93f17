"""How every process connects to Postgres: never hanging for ever, and saying what is wrong with DATABASE_URL."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import conninfo

from runtime.failures import Fatal

# Transactions are opened where they are needed, and never around a request. A dead network has to show within half a
# minute: until then nothing is stored, and nobody is told.
CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class BadAddress(Fatal):
    """DATABASE_URL is no connection string; postgresql://user:password@host:port/database is one."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)  # never what it holds: there is a password in it


def check_address(database_url: str) -> None:
    """See whether an address can be understood.

    Raises:
        BadAddress: it cannot.
    """
    try:
        conninfo.conninfo_to_dict(database_url)
    except psycopg.ProgrammingError as exc:
        raise BadAddress from exc
