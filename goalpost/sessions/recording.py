"""The triggers on ``user_analytics`` that record which rows have changed, and whether they have done so all the time.

Only what a session record shows counts as a change: the goals that goalpost and the site append to a row are none, so
goalpost's own writes do not come back to it. Why triggers: docs/decisions/0006-following-user-analytics.md.
"""

from __future__ import annotations

from typing import Final, LiteralString

from psycopg import sql

from goalpost.sessions import readings
from goalpost.sessions.table import Bounds, Table
from runtime.failures import Fatal
from sinks.postgres.connection import Connection, Misconfigured, translated_errors

# What the triggers of this version look at; those of another one are made anew, and every row is read once more.
_VERSION: Final[LiteralString] = "goalpost: ids, also where analytics_data is JSON as text"
# Both fire always: also for rows that logical replication writes.
_RECORDING: Final[LiteralString] = """
SELECT string_agg(format('%%s=%%s', tgname, oid), ' ' ORDER BY tgname)
       || format(' into=%%s', to_regclass('user_analytics_changes')::oid)
FROM pg_trigger
WHERE tgrelid = to_regclass('user_analytics') AND tgenabled = 'A'
  AND tgname IN ('goalpost_session_rows', 'goalpost_session_updates')
HAVING count(*) = 2 AND bool_or(obj_description(oid, 'pg_trigger') = %s)
"""
_DROP: Final[LiteralString] = """
DROP TRIGGER IF EXISTS goalpost_session_rows ON user_analytics;
DROP TRIGGER IF EXISTS goalpost_session_updates ON user_analytics;
"""
_CREATE: Final[LiteralString] = """
CREATE TRIGGER goalpost_session_rows AFTER INSERT OR DELETE ON user_analytics
    FOR EACH ROW EXECUTE FUNCTION record_session_change();
CREATE TRIGGER goalpost_session_updates AFTER UPDATE ON user_analytics
    FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION record_session_change();
ALTER TABLE user_analytics ENABLE ALWAYS TRIGGER goalpost_session_rows;
ALTER TABLE user_analytics ENABLE ALWAYS TRIGGER goalpost_session_updates;
COMMENT ON TRIGGER goalpost_session_updates ON user_analytics IS {version};
"""
# What the site's writers may be kept waiting behind us while we wait for those that are at work.
_PATIENCE: Final[LiteralString] = "SET LOCAL lock_timeout = '2s'"


class NotTheOwner(Fatal):
    """The triggers cannot be put on ``user_analytics``."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"the changes of user_analytics cannot be recorded ({cause}). Run `goalpost migrate`, and use the role "
            "that owns user_analytics; or let Supabase's database webhook send changes to POST /sessions/supabase."
        )


def recording(connection: Connection) -> str | None:
    """Return what names this recording, or ``None`` where changes are not recorded."""
    with translated_errors():
        found = connection.execute(_RECORDING, (_VERSION,)).fetchall()
    return str(found[0][0]) if found and found[0][0] is not None else None


def ensure_recording(connection: Connection, table: Table) -> bool:
    """Make sure that every change has been recorded since the reading ``follow`` began.

    Where that is not so, the triggers are made and the reading begins again. Whoever was writing then has ended before
    the triggers are there, so each row is either seen by the reading or recorded. Returns whether it begins again.

    Raises:
        NotTheOwner: a person has to act.
        Transient: the site's writers were in the way; try again.
    """
    reading = readings.load(connection, readings.FOLLOW)
    known = recording(connection)
    if reading is not None and known is not None and reading.recording == known:
        return False
    try:
        with translated_errors(), connection.transaction():
            connection.execute(_PATIENCE)
            connection.execute(_DROP)
            connection.execute(sql.SQL(_CREATE).format(changed=_changed(table), version=sql.Literal(_VERSION)))
            readings.begin(connection, readings.FOLLOW, Bounds(), recording=recording(connection))
    except Misconfigured as exc:
        raise NotTheOwner(str(exc.__cause__)) from exc
    return True


def end_recording(connection: Connection) -> None:
    """Take the triggers off, and forget what they have recorded.

    Raises:
        Transient: the site's writers were in the way; try again.
    """
    with translated_errors(), connection.transaction():
        connection.execute(_PATIENCE)
        connection.execute(_DROP)
        connection.execute("DELETE FROM user_analytics_changes")
        readings.forget(connection, readings.FOLLOW)


def _changed(table: Table) -> sql.Composed:
    plain = [name for name in ("id", "session_id", "timestamp", "last_visit_at") if name in table.types]
    parts: list[sql.Composable] = [
        sql.SQL("OLD.{0} IS DISTINCT FROM NEW.{0}").format(sql.Identifier(name)) for name in plain
    ]
    # As text: the type json has no equality. What stands in a JSON text is not looked for here: a trigger of ours must
    # never fail a write of the site's, and reading such a row once too often does no harm.
    kind_of = sql.SQL("json_typeof" if table.types["analytics_data"] == "json" else "jsonb_typeof")
    changed = """CASE WHEN 'string' IN ({kind_of}(OLD.analytics_data), {kind_of}(NEW.analytics_data))
        THEN OLD.analytics_data::text IS DISTINCT FROM NEW.analytics_data::text
        ELSE (OLD.analytics_data -> 'ids')::text IS DISTINCT FROM (NEW.analytics_data -> 'ids')::text END"""
    parts.append(sql.SQL(changed).format(kind_of=kind_of))
    return sql.SQL(" OR ").join(parts)
