-- The log. The columns of postgres-es, and what it leaves out: a global position, ids, the tenant, the time.
-- `position` is the rowid, so a page of the log is one walk along the table itself.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY CHECK (position > 0),
    event_id       BLOB    NOT NULL CHECK (length(event_id) = 16),
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    sequence       INTEGER NOT NULL CHECK (sequence > 0),
    event_type     TEXT    NOT NULL,
    event_version  INTEGER NOT NULL,
    payload        TEXT    NOT NULL,
    tenant         BLOB    NOT NULL CHECK (length(tenant) = 16),
    metadata       TEXT    NOT NULL,
    -- Microseconds since 1970, UTC.
    recorded_at    INTEGER NOT NULL,
    -- The id first: it tells most rows apart at the first byte compared.
    UNIQUE (aggregate_id, aggregate_type, sequence)
) STRICT;

-- What is recorded stays as it is.
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never deleted');
END;

-- A position is the next one or none, and so is a sequence of a stream: the writer need not look before it appends.
-- INSERT OR REPLACE, which deletes without asking the trigger above, finds nothing to replace. FAIL, not ABORT: there is
-- nothing to undo, so SQLite need not be ready to.
CREATE TRIGGER events_are_only_appended BEFORE INSERT ON events
WHEN NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM events)
    OR NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM events
                            WHERE aggregate_id = NEW.aggregate_id AND aggregate_type = NEW.aggregate_type)
BEGIN
    SELECT CASE WHEN NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM events)
        THEN RAISE(FAIL, 'events are only appended')
        ELSE RAISE(FAIL, 'events are only appended: the stream does not end there') END;
END;

-- Commands that may be repeated, by the key their sender gave: written together with their events, kept for good.
CREATE TABLE commands (
    tenant         BLOB    NOT NULL,
    key            TEXT    NOT NULL,
    fingerprint    BLOB    NOT NULL,
    -- Both 0 for a command without events.
    first_position INTEGER NOT NULL,
    last_position  INTEGER NOT NULL,
    -- What the sender was told; comes after the events, once.
    answer         BLOB,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER commands_are_never_deleted BEFORE DELETE ON commands
BEGIN
    SELECT RAISE(ABORT, 'keys of commands are kept for good');
END;

CREATE TRIGGER commands_are_answered_once BEFORE UPDATE ON commands
WHEN OLD.answer IS NOT NULL OR NEW.tenant <> OLD.tenant OR NEW.key <> OLD.key OR NEW.fingerprint <> OLD.fingerprint
    OR NEW.first_position <> OLD.first_position OR NEW.last_position <> OLD.last_position
BEGIN
    SELECT RAISE(ABORT, 'a kept command gets its answer once and never changes otherwise');
END;

-- How far process managers and gateways have come. They are idempotent: this may lag behind.
CREATE TABLE reader_positions (
    reader   TEXT    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;
