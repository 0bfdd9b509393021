-- The log. The first seven columns and the primary key are those of postgres-es, so its repository reads and writes
-- this table; then what it leaves out: a global position, ids, the tenant, the time.
--
-- Whoever appends holds one advisory lock from before it looks at the last position until its transaction has ended.
-- So positions have no gaps, follow the order of commits over any number of servers, and nobody sees a position below
-- which another can still appear. The lock costs one call a batch, not one an event.
CREATE TABLE events (
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    event_type     text        NOT NULL,
    event_version  text        NOT NULL,
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    position       bigint      NOT NULL CHECK (position > 0),
    event_id       uuid        NOT NULL,
    tenant         uuid        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence),
    UNIQUE (position)
);

-- Commands that may be repeated, by the key their sender gave: written together with their events, kept for good.
CREATE TABLE commands (
    tenant         uuid   NOT NULL,
    key            text   NOT NULL,
    fingerprint    bytea  NOT NULL,
    -- Both 0 for a command without events.
    first_position bigint NOT NULL,
    last_position  bigint NOT NULL,
    -- What the sender was told; comes after the events, once.
    answer         bytea,
    PRIMARY KEY (tenant, key)
);

-- How far process managers and gateways have come. They are idempotent: this may lag behind.
CREATE TABLE reader_positions (
    reader   text   NOT NULL PRIMARY KEY,
    position bigint NOT NULL
);

-- What is recorded stays as it is. ALWAYS: also for a session that replays another server's changes.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_change('events are only appended');
CREATE TRIGGER events_are_never_truncated BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('events are only appended');
CREATE TRIGGER commands_are_never_deleted BEFORE DELETE ON commands
    FOR EACH ROW EXECUTE FUNCTION refuse_change('keys of commands are kept for good');
CREATE TRIGGER commands_are_never_truncated BEFORE TRUNCATE ON commands
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('keys of commands are kept for good');
CREATE TRIGGER commands_are_answered_once BEFORE UPDATE ON commands
    FOR EACH ROW WHEN (
        OLD.answer IS NOT NULL
        OR (NEW.tenant, NEW.key, NEW.fingerprint, NEW.first_position, NEW.last_position)
            IS DISTINCT FROM (OLD.tenant, OLD.key, OLD.fingerprint, OLD.first_position, OLD.last_position))
    EXECUTE FUNCTION refuse_change('a kept command gets its answer once and never changes otherwise');

ALTER TABLE events ENABLE ALWAYS TRIGGER events_are_never_changed;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_are_never_truncated;
ALTER TABLE commands ENABLE ALWAYS TRIGGER commands_are_never_deleted;
ALTER TABLE commands ENABLE ALWAYS TRIGGER commands_are_never_truncated;
ALTER TABLE commands ENABLE ALWAYS TRIGGER commands_are_answered_once;

-- Waits for the turn to append. The turn ends with the transaction.
CREATE FUNCTION await_turn_to_append() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(7165071312106252032)
$$;

-- Where events come from somebody who knows only the columns of postgres-es.
CREATE FUNCTION place_foreign_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_position    bigint;
    last_recorded_at timestamptz;
BEGIN
    -- Nobody else can append until this transaction ends, so a session that idles in it is ended.
    PERFORM set_config('idle_in_transaction_session_timeout', '30s', true);
    PERFORM await_turn_to_append();
    SELECT position, recorded_at INTO last_position, last_recorded_at FROM events ORDER BY position DESC LIMIT 1;
    NEW.position := coalesce(last_position, 0) + 1;
    NEW.recorded_at := greatest(clock_timestamp(), last_recorded_at);
    NEW.tenant := coalesce(NEW.tenant, (NEW.metadata ->> 'tenant')::uuid, '00000000-0000-0000-0000-000000000001');
    -- A UUID of version 7: a random one with the milliseconds in front and the version set.
    NEW.event_id := coalesce(NEW.event_id, encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM NEW.recorded_at) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid);
    PERFORM pg_notify('corelog_events', NEW.position::text);
    RETURN NEW;
END $$;

CREATE TRIGGER foreign_events_are_placed BEFORE INSERT ON events
    FOR EACH ROW WHEN (NEW.position IS NULL) EXECUTE FUNCTION place_foreign_event();
ALTER TABLE events ENABLE ALWAYS TRIGGER foreign_events_are_placed;

-- Appends the events of many commands and keeps answers given to earlier ones, all in the calling transaction.
--
-- Arrays with one element a command, one an event, one an answer. `event_commands` says which command an event belongs
-- to and `event_places` its place therein, both from 1. No two commands may have the same stream or the same key, and
-- no two answers the same key.
--
-- Returns a row a command: the position of its first event, or -1 when its key was used before (the rest of the row
-- says for what), or -2 when the stream was not where it expected it.
CREATE FUNCTION append_commands(
    tenants uuid[], aggregate_types text[], aggregate_ids text[], expected_sequences bigint[], counts bigint[],
    keys text[], fingerprints bytea[],
    event_commands int[], event_places bigint[], event_tenants uuid[], event_aggregate_types text[],
    event_aggregate_ids text[], event_sequences bigint[], event_types text[], event_versions text[], payloads text[],
    metadatas text[], event_ids uuid[],
    answer_tenants uuid[], answer_keys text[], answer_fingerprints bytea[], answers bytea[]
) RETURNS TABLE (
    verdict bigint, moment timestamptz, kept_fingerprint bytea, kept_first bigint, kept_last bigint, kept_answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    head      bigint;
    firsts    bigint[];
    appended  bigint;
BEGIN
    PERFORM await_turn_to_append();
    SELECT e.position, e.recorded_at INTO head, moment FROM events e ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    moment := greatest(clock_timestamp(), moment);

    SELECT array_agg(CASE WHEN n.judged > 0 THEN head + 1 + n.before ELSE n.judged END ORDER BY n.place),
           coalesce(sum(n.count) FILTER (WHERE n.judged > 0), 0)
    INTO firsts, appended
    FROM (
        SELECT j.place, j.count, j.judged,
               sum(CASE WHEN j.judged > 0 THEN j.count ELSE 0 END) OVER (ORDER BY j.place) - j.count AS before
        FROM (
            SELECT c.place, c.count,
                   CASE
                       WHEN c.key IS NOT NULL AND EXISTS (
                           SELECT FROM commands k WHERE k.tenant = c.tenant AND k.key = c.key) THEN -1
                       WHEN c.expected <> coalesce((
                           SELECT e.sequence FROM events e
                           WHERE e.aggregate_type = c.aggregate_type AND e.aggregate_id = c.aggregate_id
                           ORDER BY e.sequence DESC LIMIT 1), 0) THEN -2
                       ELSE 1
                   END AS judged
            FROM unnest(tenants, aggregate_types, aggregate_ids, expected_sequences, counts, keys) WITH ORDINALITY
                AS c (tenant, aggregate_type, aggregate_id, expected, count, key, place)
        ) j
    ) n;

    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, tenant, recorded_at)
    SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload::json,
           e.metadata::json, firsts[e.command] + e.place - 1, e.event_id, e.tenant, moment
    FROM unnest(event_commands, event_places, event_tenants, event_aggregate_types, event_aggregate_ids,
                event_sequences, event_types, event_versions, payloads, metadatas, event_ids)
        AS e (command, place, tenant, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
              metadata, event_id)
    WHERE firsts[e.command] > 0;

    INSERT INTO commands (tenant, key, fingerprint, first_position, last_position)
    SELECT c.tenant, c.key, c.fingerprint, CASE WHEN c.count > 0 THEN c.first ELSE 0 END,
           CASE WHEN c.count > 0 THEN c.first + c.count - 1 ELSE 0 END
    FROM unnest(tenants, keys, fingerprints, counts, firsts) AS c (tenant, key, fingerprint, count, first)
    WHERE c.key IS NOT NULL AND c.first > 0;

    INSERT INTO commands AS k (tenant, key, fingerprint, first_position, last_position, answer)
    SELECT a.tenant, a.key, a.fingerprint, 0, 0, a.answer
    FROM unnest(answer_tenants, answer_keys, answer_fingerprints, answers) AS a (tenant, key, fingerprint, answer)
    ON CONFLICT (tenant, key) DO UPDATE SET answer = EXCLUDED.answer
    WHERE k.answer IS NULL AND k.fingerprint = EXCLUDED.fingerprint;

    IF appended > 0 THEN
        PERFORM pg_notify('corelog_events', (head + appended)::text);
    END IF;

    RETURN QUERY
    SELECT c.first, moment, k.fingerprint, k.first_position, k.last_position, k.answer
    FROM unnest(firsts, tenants, keys) WITH ORDINALITY AS c (first, tenant, key, place)
    LEFT JOIN LATERAL (
        SELECT * FROM commands s WHERE c.first = -1 AND s.tenant = c.tenant AND s.key = c.key LIMIT 1) k ON true
    ORDER BY c.place;
END $$;
