-- What one connection of the sink sets up for itself, once. Everything is temporary: it goes with the connection, so
-- it can never be older or newer than the code that uses it.

-- Where a batch lands before it is known which of its conversions are new. Text is cast when it is inserted, so that
-- a malformed value is refused by the same rule as any other.
CREATE TEMPORARY TABLE incoming_conversions (
    id TEXT,
    webhook_id TEXT,
    counter_id TEXT,
    payload TEXT,
    order_id TEXT,
    external_source TEXT,
    session_id TEXT,
    session_missing BOOLEAN,
    session_at TIMESTAMP WITH TIME ZONE,
    creates_row BOOLEAN,
    analytics_row_id TEXT,
    client_id TEXT,
    yclid TEXT,
    user_id TEXT,
    purchase_id TEXT,
    target TEXT,
    price TEXT,
    currency TEXT,
    occurred_at TIMESTAMP WITH TIME ZONE,
    received_at TIMESTAMP WITH TIME ZONE,
    resolved_at TIMESTAMP WITH TIME ZONE,
    deadline_at TIMESTAMP WITH TIME ZONE,
    goal_rule TEXT,
    rules_changed_at TIMESTAMP WITH TIME ZONE,
    attempts INT,
    goal_appended BOOLEAN,
    raw_partition INT,
    raw_offset BIGINT,
    conversion_partition INT,
    conversion_offset BIGINT,
    email_md5 TEXT,
    phone_md5 TEXT,
    notes TEXT
) ON COMMIT DELETE ROWS;

-- The law of the row (goal lists; everything else in the row is the session's):
--   row = with_goals(without_appended(newest session record), goals of its conversions in the order of storing)
-- with_goals(with_goals(row, a), b) = with_goals(row, a || b), and appended(with_goals(row, a)) = appended(row) || a,
-- therefore it does not matter whether a session or its conversions are stored first.

-- What a JSON text holds, if that is of the wanted kind, or again such a text; else NULL. Drivers that encode twice store
-- an object as text, and the site reads it back that way: a text stays one, with the goals inside.
CREATE FUNCTION pg_temp.opened(value JSONB, kind TEXT) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    held JSONB;
BEGIN
    IF jsonb_typeof(value) IS DISTINCT FROM 'string' THEN
        RETURN NULL;
    END IF;
    BEGIN
        held := (value #>> '{}')::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN NULL;
    END;
    IF jsonb_typeof(held) = kind OR pg_temp.opened(held, kind) IS NOT NULL THEN
        RETURN held;
    END IF;
    RETURN NULL;
END
$$;

-- data with goals added to target_actions.yandex_goals_triggered. A value of another type than the list needs stays
-- beside it under <name>_before: nothing that the site wrote is lost.
CREATE FUNCTION pg_temp.with_goals(data JSONB, goals JSONB) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    actions JSONB;
    present JSONB;
    held JSONB;
BEGIN
    IF goals = '[]' THEN
        RETURN data;
    END IF;
    IF data IS NULL OR data = 'null' THEN
        data := '{}';
    ELSIF jsonb_typeof(data) <> 'object' THEN
        held := pg_temp.opened(data, 'object');
        IF held IS NOT NULL THEN
            RETURN to_jsonb(pg_temp.with_goals(held, goals)::text);
        END IF;
        data := jsonb_build_object('analytics_data_before', data);
    END IF;
    actions := data -> 'target_actions';
    IF actions IS NULL OR actions = 'null' THEN
        actions := '{}';
    ELSIF jsonb_typeof(actions) <> 'object' THEN
        held := pg_temp.opened(actions, 'object');
        IF held IS NOT NULL THEN
            RETURN data || jsonb_build_object('target_actions', to_jsonb((pg_temp.with_goals(
                jsonb_build_object('target_actions', held), goals) -> 'target_actions')::text));
        END IF;
        data := data || jsonb_build_object('target_actions_before', actions);
        actions := '{}';
    END IF;
    present := actions -> 'yandex_goals_triggered';
    IF present IS NULL OR present = 'null' THEN
        present := '[]';
    ELSIF jsonb_typeof(present) <> 'array' THEN
        held := pg_temp.opened(present, 'array');
        IF held IS NOT NULL THEN
            RETURN data || jsonb_build_object('target_actions', actions || jsonb_build_object(
                'yandex_goals_triggered', pg_temp.listed_with(present, goals), 'conversion_flag', true));
        END IF;
        actions := actions || jsonb_build_object('yandex_goals_triggered_before', present);
        present := '[]';
    END IF;
    RETURN data || jsonb_build_object('target_actions', actions || jsonb_build_object(
        'yandex_goals_triggered', present || goals, 'conversion_flag', true));
END
$$;

-- A list with goals behind it, also where it stands in a text.
CREATE FUNCTION pg_temp.listed_with(list JSONB, goals JSONB) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF jsonb_typeof(list) = 'array' THEN
        RETURN list || goals;
    END IF;
    RETURN to_jsonb(pg_temp.listed_with(pg_temp.opened(list, 'array'), goals)::text);
END
$$;

-- The value itself, or what stands in the text that it is.
CREATE FUNCTION pg_temp.bare(value JSONB, kind TEXT) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    WHILE jsonb_typeof(value) = 'string' LOOP
        value := pg_temp.opened(value, kind);
    END LOOP;
    RETURN value;
END
$$;

-- The goals in data that goalpost appended (mine), or the others: ours carry source crm_offline and an event_id.
CREATE FUNCTION pg_temp.goals_in(data JSONB, mine BOOLEAN) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    list JSONB := pg_temp.bare(pg_temp.bare(pg_temp.bare(data, 'object') -> 'target_actions', 'object')
                               -> 'yandex_goals_triggered', 'array');
BEGIN
    IF jsonb_typeof(list) IS DISTINCT FROM 'array' THEN
        RETURN '[]';
    END IF;
    RETURN (
        SELECT coalesce(jsonb_agg(goal ORDER BY position), '[]')
        FROM jsonb_array_elements(list) WITH ORDINALITY AS listed (goal, position)
        WHERE (jsonb_typeof(goal) = 'object' AND goal @> '{"source": "crm_offline"}' AND goal ? 'event_id') = mine
    );
END
$$;

-- What a row holds after a session record: the record's content and the row's appended goals. A copy of an appended
-- goal that the site sends back is dropped: the row's own one counts.
CREATE FUNCTION pg_temp.merged(stored JSONB, session JSONB) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    actions JSONB;
BEGIN
    IF pg_temp.goals_in(session, true) <> '[]' THEN
        actions := pg_temp.bare(session -> 'target_actions', 'object');
        session := jsonb_set(session, '{target_actions}', actions || jsonb_build_object(
            'yandex_goals_triggered', pg_temp.goals_in(session, false)));
    END IF;
    RETURN pg_temp.with_goals(session, pg_temp.goals_in(stored, true));
END
$$;
