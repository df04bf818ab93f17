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

-- data with goals added to target_actions.yandex_goals_triggered. A value of another type than the list needs stays
-- beside it under <name>_before: nothing that the site wrote is lost.
CREATE FUNCTION pg_temp.with_goals(data JSONB, goals JSONB) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    actions JSONB;
    present JSONB;
BEGIN
    IF goals = '[]' THEN
        RETURN data;
    END IF;
    IF data IS NULL OR data = 'null' THEN
        data := '{}';
    ELSIF jsonb_typeof(data) <> 'object' THEN
        data := jsonb_build_object('analytics_data_before', data);
    END IF;
    actions := data -> 'target_actions';
    IF actions IS NULL OR actions = 'null' THEN
        actions := '{}';
    ELSIF jsonb_typeof(actions) <> 'object' THEN
        data := data || jsonb_build_object('target_actions_before', actions);
        actions := '{}';
    END IF;
    present := actions -> 'yandex_goals_triggered';
    IF present IS NULL OR present = 'null' THEN
        present := '[]';
    ELSIF jsonb_typeof(present) <> 'array' THEN
        actions := actions || jsonb_build_object('yandex_goals_triggered_before', present);
        present := '[]';
    END IF;
    RETURN data || jsonb_build_object('target_actions', actions || jsonb_build_object(
        'yandex_goals_triggered', present || goals, 'conversion_flag', true));
END
$$;

-- The goals in data that goalpost appended (mine), or the others: ours carry source crm_offline and an event_id.
CREATE FUNCTION pg_temp.goals_in(data JSONB, mine BOOLEAN) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF jsonb_typeof(data #> '{target_actions,yandex_goals_triggered}') IS DISTINCT FROM 'array' THEN
        RETURN '[]';
    END IF;
    RETURN (
        SELECT coalesce(jsonb_agg(goal ORDER BY position), '[]')
        FROM jsonb_array_elements(data #> '{target_actions,yandex_goals_triggered}') WITH ORDINALITY
            AS listed (goal, position)
        WHERE (jsonb_typeof(goal) = 'object' AND goal @> '{"source": "crm_offline"}' AND goal ? 'event_id') = mine
    );
END
$$;

-- What a row holds after a session record: the record's content and the row's appended goals. A copy of an appended
-- goal that the site sends back is dropped: the row's own one counts.
CREATE FUNCTION pg_temp.merged(stored JSONB, session JSONB) RETURNS JSONB LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF pg_temp.goals_in(session, true) <> '[]' THEN
        session := jsonb_set(session, '{target_actions,yandex_goals_triggered}', pg_temp.goals_in(session, false));
    END IF;
    RETURN pg_temp.with_goals(session, pg_temp.goals_in(stored, true));
END
$$;
