-- Nothing is uploaded twice, whoever writes SQL. A conversion that Metrika has, or may have, never becomes one that is
-- uploaded; what was sent of it does not change; the ledger of uploads does not forget. docs/moves.md lists every move
-- with its reason; tests/integration/test_conversion_moves.py holds that list and this file together.
--
-- Two settings open doors, only to the owner of the tables and whoever has the owner's rights, and each is said aloud by
-- one program: goalpost.uploader (the Metrika sink, which asks Metrika before it says that a file did not arrive) and
-- goalpost.retention (`goalpost retention`, for what is older than the topics that could bring it back).

CREATE OR REPLACE FUNCTION goalpost_owner_says(setting TEXT, relation REGCLASS) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    -- Inside of a function with its owner's rights current_user is the owner; these two are still the caller.
    SELECT coalesce(current_setting(setting, true), '') = 'on' AND pg_has_role(
        CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END,
        (SELECT relowner FROM pg_class WHERE oid = relation), 'USAGE')
$$;

-- Whether one of the files that a conversion was ever in may have reached Metrika. A file that the ledger no longer
-- knows may have.
CREATE OR REPLACE FUNCTION goalpost_may_be_at_metrika(conversion UUID, last_upload UUID) RETURNS BOOLEAN
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM (SELECT last_upload UNION SELECT upload FROM conversion_events WHERE conversion_id = conversion)
            AS carried (upload)
        WHERE carried.upload IS NOT NULL
          AND NOT EXISTS (SELECT FROM metrika_uploads AS file WHERE file.id = carried.upload AND file.state = 'rejected')
    )
$$;

-- Which status goes with which stage. A stored one may be taken out by hand (error), or was sent by another program.
UPDATE webhook_conversions
SET status = CASE stage WHEN 'stored' THEN 'error' WHEN 'batched' THEN 'pending' WHEN 'failed' THEN 'error' ELSE 'sent' END
WHERE stage IS NOT NULL AND (status, stage) NOT IN (
    ('pending', 'stored'), ('error', 'stored'), ('sent', 'stored'), ('pending', 'batched'), ('sent', 'uploaded'),
    ('sent', 'processed'), ('sent', 'not_linked'), ('error', 'failed'));

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conname = 'webhook_conversions_pair_check' AND conrelid = 'webhook_conversions'::regclass
    ) THEN
        ALTER TABLE webhook_conversions ADD CONSTRAINT webhook_conversions_pair_check CHECK (
            stage IS NULL
            OR (status = 'pending' AND stage IN ('stored', 'batched'))
            OR (status = 'sent' AND stage IN ('stored', 'uploaded', 'processed', 'not_linked'))
            OR (status = 'error' AND stage IN ('stored', 'failed'))) NOT VALID;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conname = 'webhook_conversions_upload_check' AND conrelid = 'webhook_conversions'::regclass
    ) THEN
        -- A file's rows are those that name it, so one that may be put into the next file must not.
        ALTER TABLE webhook_conversions ADD CONSTRAINT webhook_conversions_upload_check CHECK (
            stage IS NULL OR (stage <> 'stored' OR upload IS NULL) AND (stage <> 'batched' OR upload IS NOT NULL))
            NOT VALID;
    END IF;
END
$$;

-- Called only for what the trigger's condition has not found harmless.
CREATE OR REPLACE FUNCTION goalpost_check_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    of_file CONSTANT BOOLEAN := (NEW.upload, NEW.upload_line) IS DISTINCT FROM (OLD.upload, OLD.upload_line);
    of_content CONSTANT BOOLEAN :=
        (NEW.counter_id, NEW.target, NEW.price, NEW.currency, NEW.occurred_at, NEW.upload_second)
            IS DISTINCT FROM (OLD.counter_id, OLD.target, OLD.price, OLD.currency, OLD.occurred_at, OLD.upload_second);
    of_person CONSTANT BOOLEAN :=
        (NEW.client_id, NEW.yclid, NEW.user_id, NEW.purchase_id, NEW.email_md5, NEW.phone_md5, NEW.order_id)
            IS DISTINCT FROM
        (OLD.client_id, OLD.yclid, OLD.user_id, OLD.purchase_id, OLD.email_md5, OLD.phone_md5, OLD.order_id);
    forgets CONSTANT BOOLEAN := NEW.anonymised_at IS NOT NULL
        AND coalesce(NEW.client_id, NEW.yclid, NEW.user_id, NEW.purchase_id, NEW.email_md5, NEW.phone_md5, NEW.order_id)
            IS NULL;
    move CONSTANT TEXT := format('conversion %s: %s/%s does not become %s/%s', OLD.id, OLD.status,
        coalesce(OLD.stage, 'no stage'), NEW.status, coalesce(NEW.stage, 'no stage'));
    refused CONSTANT BOOLEAN := OLD.stage = 'batched'
        AND EXISTS (SELECT FROM metrika_uploads AS file WHERE file.id = OLD.upload AND file.state = 'rejected');
    why TEXT;
BEGIN
    IF NEW.id <> OLD.id THEN
        why := 'its id is how a repeat of the event is recognised; let it stand';
    ELSIF OLD.stage IS NULL THEN
        IF OLD.status = 'sent' OR OLD.metrika_upload_id IS NOT NULL THEN
            why := 'another program has sent it to Metrika already; leave it to that program';
        ELSIF NEW.stage <> 'stored' THEN
            why := 'goalpost takes in a row of another program as stored; give it that stage';
        END IF;
    ELSIF NEW.stage IS NULL THEN
        why := 'a row of goalpost keeps a stage; to take one out that is stored, set its status to error';
    ELSIF OLD.stage = 'stored' THEN
        IF OLD.status = 'sent' AND NEW.status <> 'sent' THEN
            why := 'somebody has said that Metrika has it; send a new event if that is wrong';
        END IF;
    ELSIF OLD.stage = 'batched' THEN
        IF NEW.stage IN ('processed', 'not_linked') THEN
            why := 'its file has not been accepted yet; goalpost sink metrika follows it';
        ELSIF NEW.stage = 'stored' AND NOT refused THEN
            why := 'its file may reach Metrika; goalpost sink metrika puts it back when Metrika has refused the file';
        ELSIF (of_file AND NOT refused) OR of_content OR of_person THEN
            why := 'it is in a file, whose bytes are decided; wait until Metrika has answered';
        END IF;
    ELSIF OLD.stage IN ('uploaded', 'processed', 'not_linked') THEN
        IF NEW.stage IN ('stored', 'batched', 'failed') THEN
            why := 'Metrika has it and would count it twice; send a new event for what has to be uploaded';
        ELSIF NEW.stage <> OLD.stage AND OLD.stage <> 'uploaded' THEN
            why := 'Metrika has said its last word about it; there is nothing to change';
        ELSIF of_file OR of_content OR (of_person AND NOT forgets)
            OR (OLD.metrika_upload_id IS NOT NULL AND NEW.metrika_upload_id IS DISTINCT FROM OLD.metrika_upload_id)
        THEN
            why := 'it stands as Metrika was sent it; a correction is an event of its own, a visitor is erased with '
                || '`goalpost erase`';
        END IF;
    ELSIF OLD.stage = 'failed' THEN
        IF NEW.stage = 'batched' THEN
            why := 'it is not in a file; make it pending and stored';
        ELSIF NEW.stage = 'stored' AND NEW.anonymised_at IS NOT NULL THEN
            why := 'it names no visitor any more; there is nothing to upload';
        ELSIF NEW.stage = 'stored' AND goalpost_may_be_at_metrika(OLD.id, OLD.upload) THEN
            why := 'one of its files may have reached Metrika; `goalpost trace` names it';
        ELSIF NEW.stage <> 'stored' AND of_file AND NEW.upload IS NOT NULL THEN
            why := 'it was refused, so it is in no other file; make it pending and stored';
        END IF;
    END IF;
    IF why IS NOT NULL THEN
        RAISE EXCEPTION '%: %', move, why;
    END IF;
    RETURN NULL;
END
$$;

-- After the row: then a file that is given up in the same statement is known to be. The condition is what goalpost does
-- all day and what can harm nobody; it is the whole cost of that.
CREATE OR REPLACE TRIGGER conversion_moves
    AFTER UPDATE ON webhook_conversions FOR EACH ROW
    WHEN ((
        (OLD.stage IS NULL AND NEW.stage IS NULL)
        OR (OLD.stage = 'stored' AND OLD.status <> 'sent' AND NEW.stage IS NOT NULL AND NEW.id = OLD.id)
        OR (OLD.stage = 'failed' AND NEW.stage IN ('failed', 'uploaded', 'processed', 'not_linked') AND NEW.id = OLD.id
            AND (NEW.upload IS NULL OR NEW.upload IS NOT DISTINCT FROM OLD.upload))
        OR (CASE OLD.stage
                WHEN 'batched' THEN NEW.stage IN ('batched', 'uploaded', 'failed')
                WHEN 'uploaded' THEN NEW.stage IN ('uploaded', 'processed', 'not_linked')
                    AND (OLD.metrika_upload_id IS NULL OR NEW.metrika_upload_id IS NOT DISTINCT FROM OLD.metrika_upload_id)
                WHEN 'processed' THEN NEW.stage = 'processed'
                    AND (OLD.metrika_upload_id IS NULL OR NEW.metrika_upload_id IS NOT DISTINCT FROM OLD.metrika_upload_id)
                WHEN 'not_linked' THEN NEW.stage = 'not_linked'
                    AND (OLD.metrika_upload_id IS NULL OR NEW.metrika_upload_id IS NOT DISTINCT FROM OLD.metrika_upload_id)
                ELSE FALSE
            END
            AND (NEW.id, NEW.counter_id, NEW.target, NEW.price, NEW.currency, NEW.occurred_at, NEW.upload, NEW.upload_line,
                 NEW.upload_second, NEW.client_id, NEW.yclid, NEW.user_id, NEW.purchase_id, NEW.email_md5, NEW.phone_md5,
                 NEW.order_id)
                IS NOT DISTINCT FROM
                (OLD.id, OLD.counter_id, OLD.target, OLD.price, OLD.currency, OLD.occurred_at, OLD.upload, OLD.upload_line,
                 OLD.upload_second, OLD.client_id, OLD.yclid, OLD.user_id, OLD.purchase_id, OLD.email_md5, OLD.phone_md5,
                 OLD.order_id))
    ) IS NOT TRUE)
    EXECUTE FUNCTION goalpost_check_move();

CREATE OR REPLACE FUNCTION goalpost_check_insert() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RAISE EXCEPTION 'conversion %: no row begins in a file; insert it as stored, and it will be uploaded', NEW.id;
END
$$;

CREATE OR REPLACE TRIGGER conversion_begins
    AFTER INSERT ON webhook_conversions FOR EACH ROW WHEN (NEW.stage = 'batched')
    EXECUTE FUNCTION goalpost_check_insert();

-- The row is what makes a repeat of its event harmless, for as long as a topic may hand the event out again: 37 days
-- (goalpost/retention/policy.py).
CREATE OR REPLACE FUNCTION goalpost_check_delete() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF coalesce(OLD.received_at, OLD.created_at) < now() - interval '37 days'
        AND goalpost_owner_says('goalpost.retention', TG_RELID) THEN
        RETURN NULL;
    END IF;
    IF OLD.stage = 'failed' AND NOT goalpost_may_be_at_metrika(OLD.id, OLD.upload) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'conversion %: Metrika has it or may have it, and without its row a repeat of the event would be '
        'uploaded again; `goalpost retention` deletes it when it is old enough, `goalpost erase` forgets its visitor', OLD.id;
END
$$;

CREATE OR REPLACE TRIGGER conversion_stays
    AFTER DELETE ON webhook_conversions FOR EACH ROW
    WHEN (OLD.stage <> 'stored' OR (OLD.stage = 'stored' AND OLD.status = 'sent'))
    EXECUTE FUNCTION goalpost_check_delete();

CREATE OR REPLACE FUNCTION goalpost_check_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM metrika_uploads) OR EXISTS (SELECT FROM webhook_conversions WHERE stage <> 'stored') THEN
        RAISE EXCEPTION '% says what Metrika has; emptied, everything could be uploaded again. `goalpost retention` deletes '
            'what is old enough; for a fresh start take a new database', TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER conversions_stay
    BEFORE TRUNCATE ON webhook_conversions FOR EACH STATEMENT EXECUTE FUNCTION goalpost_check_truncate();
CREATE OR REPLACE TRIGGER uploads_stay
    BEFORE TRUNCATE ON metrika_uploads FOR EACH STATEMENT EXECUTE FUNCTION goalpost_check_truncate();

-- The ledger of uploads. Whether a file has arrived only Metrika knows, and goalpost sink metrika asks it.
CREATE OR REPLACE FUNCTION goalpost_check_upload() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    may_have_arrived CONSTANT BOOLEAN := OLD.state IN ('sending', 'unknown') OR OLD.maybe_taken;
    why TEXT;
BEGIN
    IF (NEW.id, NEW.counter_id, NEW.id_type, NEW.token, NEW.prepared_at)
        IS DISTINCT FROM (OLD.id, OLD.counter_id, OLD.id_type, OLD.token, OLD.prepared_at) THEN
        why := 'by these it is found in Metrika''s list; let them stand';
    ELSIF OLD.body_sha256 <> '' AND (NEW.row_count, NEW.body_sha256) IS DISTINCT FROM (OLD.row_count, OLD.body_sha256) THEN
        why := 'its file is decided; let it stand';
    ELSIF OLD.metrika_upload_id IS NOT NULL AND NEW.metrika_upload_id IS DISTINCT FROM OLD.metrika_upload_id THEN
        why := 'Metrika has given it its id; let it stand';
    ELSIF (OLD.maybe_taken AND NOT NEW.maybe_taken) OR NEW.attempts < OLD.attempts THEN
        why := 'a request that was made does not become one that was not';
    ELSIF NEW.state <> OLD.state AND (
        OLD.state IN ('processed', 'linkage_failure', 'rejected')
        OR (OLD.state = 'accepted' AND NEW.state NOT IN ('processed', 'linkage_failure'))
        OR (OLD.state <> 'accepted' AND NEW.state IN ('processed', 'linkage_failure'))
    ) THEN
        why := 'an upload goes its way once: prepared, sending, accepted, processed; a settled one stays settled';
    ELSIF ((may_have_arrived AND NEW.state <> OLD.state AND NEW.state IN ('prepared', 'rejected'))
        OR ((may_have_arrived OR OLD.state <> 'prepared')
            AND (NEW.sent_at, NEW.answered_at, NEW.attempts) IS DISTINCT FROM (OLD.sent_at, OLD.answered_at, OLD.attempts))
    ) AND NOT goalpost_owner_says('goalpost.uploader', TG_RELID) THEN
        why := 'only Metrika knows whether it has arrived; goalpost sink metrika looks it up there and settles it';
    END IF;
    IF why IS NOT NULL THEN
        RAISE EXCEPTION 'upload % (% to %): %', OLD.id, OLD.state, NEW.state, why;
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER upload_moves
    BEFORE UPDATE ON metrika_uploads FOR EACH ROW EXECUTE FUNCTION goalpost_check_upload();

-- A draft that got no rows goes in the transaction that made it: it has no file yet.
CREATE OR REPLACE FUNCTION goalpost_check_upload_delete() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF OLD.state = 'prepared' AND OLD.body_sha256 = '' THEN
        RETURN OLD;
    END IF;
    IF OLD.state NOT IN ('prepared', 'sending', 'unknown') AND OLD.prepared_at < now() - interval '37 days'
        AND goalpost_owner_says('goalpost.retention', TG_RELID) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'upload %: the ledger remembers what Metrika was sent; `goalpost retention` deletes what is old enough',
        OLD.id;
END
$$;

CREATE OR REPLACE TRIGGER upload_stays
    BEFORE DELETE ON metrika_uploads FOR EACH ROW EXECUTE FUNCTION goalpost_check_upload_delete();

-- The audit trail says which files a conversion was in. As before (0010), but not for everybody who knows the setting.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'DELETE' AND goalpost_owner_says('goalpost.retention', TG_RELID) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'conversion_events is append-only';
END
$$;

-- A function with its owner's rights must not look up tables in a schema that its caller chooses.
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['goalpost_check_move()', 'goalpost_check_insert()', 'goalpost_check_delete()',
                                'goalpost_check_truncate()', 'goalpost_check_upload()', 'goalpost_check_upload_delete()',
                                'refuse_change()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
    REVOKE ALL ON FUNCTION goalpost_owner_says(TEXT, REGCLASS), goalpost_may_be_at_metrika(UUID, UUID) FROM PUBLIC;
END
$$;
