-- The log. The first seven columns and the primary key are those of postgres-es, so its repository reads and writes
-- this table; then what it leaves out: a global position, ids, the tenant, the time.
--
-- Whoever appends holds one advisory lock from before it looks at the last position until its transaction has ended.
-- So positions have no gaps, follow the order of commits over any number of servers, and nobody sees a position below
-- which another can still appear. The lock costs one call a batch, not one an event.
--
-- Keys are compared byte by byte (COLLATE "C"), and the id comes first: it tells most rows apart at the first bytes.
CREATE TABLE events (
    aggregate_type text        NOT NULL COLLATE "C",
    aggregate_id   text        NOT NULL COLLATE "C",
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    event_type     text        NOT NULL,
    event_version  text        NOT NULL,
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    position       bigint      NOT NULL CHECK (position > 0),
    event_id       uuid        NOT NULL,
    tenant         uuid        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (aggregate_id, aggregate_type, sequence),
    UNIQUE (position)
);

-- Commands that may be repeated, by the key their sender gave: written together with their events, kept for good.
CREATE TABLE commands (
    tenant         uuid   NOT NULL,
    key            text   NOT NULL COLLATE "C",
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

-- How many events of a batch belong to refused commands before this one.
CREATE FUNCTION refused_before(command bigint, refused bigint[], counts bigint[]) RETURNS bigint LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(sum(counts[r.place]), 0)::bigint FROM unnest(refused) AS r (place) WHERE r.place < command
$$;

-- Appends the events of many commands, keeps answers given to earlier ones and the positions of readers, all in the
-- calling transaction.
--
-- Arrays with one element a command, one an event, one an answer, one a reader. `befores` says how many events of the
-- batch come before those of a command, and `event_commands` which command an event belongs to, from 1. No two commands
-- may have the same stream or the same key, no two answers the same key, and no reader may stand there twice.
--
-- Returns a row for the command 0, with the last position before and the time of recording; then a row for each command
-- that was refused: with what its key was used for, when it was used before; without, when the stream was not where the
-- command expected it. The positions of the others follow from that. Nobody is notified: whoever calls does that, aside.
CREATE FUNCTION append_commands(
    tenants uuid[], aggregate_types text[], aggregate_ids text[], expected_sequences bigint[], counts bigint[],
    befores bigint[], keys text[], fingerprints bytea[],
    event_commands int[], event_aggregate_types text[], event_aggregate_ids text[], event_sequences bigint[],
    event_types text[], event_versions text[], payloads text[], metadatas text[], event_ids uuid[],
    answer_tenants uuid[], answer_keys text[], answer_fingerprints bytea[], answers bytea[],
    readers text[], reader_places bigint[]
) RETURNS TABLE (
    command bigint, head bigint, moment timestamptz,
    kept_fingerprint bytea, kept_first bigint, kept_last bigint, kept_answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    -- Assigned rather than performed: a plain expression costs no query.
    turn    text;
    refused bigint[];
BEGIN
    turn := await_turn_to_append();
    SELECT e.position, e.recorded_at INTO head, moment FROM events e ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    moment := greatest(clock_timestamp(), moment);

    SELECT array_agg(c.place ORDER BY c.place) INTO refused
    FROM unnest(tenants, aggregate_types, aggregate_ids, expected_sequences, keys) WITH ORDINALITY
        AS c (tenant, aggregate_type, aggregate_id, expected, key, place)
    WHERE c.expected <> coalesce((
            SELECT e.sequence FROM events e
            WHERE e.aggregate_id = c.aggregate_id AND e.aggregate_type = c.aggregate_type
            ORDER BY e.sequence DESC LIMIT 1), 0)
        OR c.key IS NOT NULL AND EXISTS (SELECT FROM commands k WHERE k.tenant = c.tenant AND k.key = c.key);

    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, tenant, recorded_at)
    SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload::json,
           e.metadata::json,
           head + e.place - CASE WHEN refused IS NULL THEN 0 ELSE refused_before(e.command, refused, counts) END,
           e.event_id, tenants[e.command], moment
    FROM unnest(event_commands, event_aggregate_types, event_aggregate_ids, event_sequences, event_types,
                event_versions, payloads, metadatas, event_ids) WITH ORDINALITY
        AS e (command, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
              place)
    WHERE refused IS NULL OR e.command <> ALL (refused);

    IF array_remove(keys, NULL) <> '{}' THEN
        INSERT INTO commands (tenant, key, fingerprint, first_position, last_position)
        SELECT c.tenant, c.key, c.fingerprint, CASE WHEN c.count > 0 THEN c.before + 1 ELSE 0 END,
               CASE WHEN c.count > 0 THEN c.before + c.count ELSE 0 END
        FROM (
            SELECT u.tenant, u.key, u.fingerprint, u.count, u.place,
                   head + u.before - CASE WHEN refused IS NULL THEN 0 ELSE refused_before(u.place, refused, counts) END
            FROM unnest(tenants, keys, fingerprints, counts, befores) WITH ORDINALITY
                AS u (tenant, key, fingerprint, count, before, place)
        ) AS c (tenant, key, fingerprint, count, place, before)
        WHERE c.key IS NOT NULL AND (refused IS NULL OR c.place <> ALL (refused));
    END IF;

    IF answer_keys <> '{}' THEN
        INSERT INTO commands AS k (tenant, key, fingerprint, first_position, last_position, answer)
        SELECT a.tenant, a.key, a.fingerprint, 0, 0, a.answer
        FROM unnest(answer_tenants, answer_keys, answer_fingerprints, answers) AS a (tenant, key, fingerprint, answer)
        ON CONFLICT (tenant, key) DO UPDATE SET answer = EXCLUDED.answer
        WHERE k.answer IS NULL AND k.fingerprint = EXCLUDED.fingerprint;
    END IF;

    IF readers <> '{}' THEN
        INSERT INTO reader_positions (reader, position)
        SELECT r.reader, r.position FROM unnest(readers, reader_places) AS r (reader, position)
        ON CONFLICT (reader) DO UPDATE SET position = EXCLUDED.position;
    END IF;

    command := 0;
    RETURN NEXT;
    IF refused IS NOT NULL THEN
        RETURN QUERY
        SELECT r.place, head, moment, k.fingerprint, k.first_position, k.last_position, k.answer
        FROM unnest(refused) AS r (place)
        LEFT JOIN LATERAL (
            SELECT * FROM commands s WHERE s.tenant = tenants[r.place] AND s.key = keys[r.place] LIMIT 1) k ON true
        ORDER BY r.place;
    END IF;
END $$;
