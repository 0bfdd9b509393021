-- Log lines: what programs said while they ran, not state. `id` is the order of arrival, given out by one writer.
CREATE TABLE log_lines (
    id         INTEGER PRIMARY KEY CHECK (id > 0),
    -- Microseconds since 1970, UTC. Within one source it never falls while `id` rises.
    at         INTEGER NOT NULL,
    tenant     BLOB    NOT NULL,
    source     TEXT    NOT NULL,
    level      TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    -- A JSON object.
    fields     TEXT    NOT NULL,
    request_id BLOB,
    user_id    BLOB,
    task_id    BLOB
) STRICT;

CREATE INDEX log_lines_of_tenants ON log_lines (tenant, source, id);
CREATE INDEX log_lines_of_levels ON log_lines (tenant, source, level, id);
CREATE INDEX log_lines_of_users ON log_lines (user_id, tenant, source, id) WHERE user_id IS NOT NULL;
CREATE INDEX log_lines_of_tasks ON log_lines (task_id, tenant, source, id) WHERE task_id IS NOT NULL;
CREATE INDEX log_lines_of_levels_of_tasks ON log_lines (task_id, tenant, source, level, id) WHERE task_id IS NOT NULL;
CREATE INDEX log_lines_by_time ON log_lines (source, at);

-- How many lines of a facet (all, a level, a user, a task, a level of a task) stand in each run of 4,096 ids: totals and
-- deep pages without counting lines.
CREATE TABLE log_line_counts (
    tenant BLOB    NOT NULL,
    source TEXT    NOT NULL,
    facet  TEXT    NOT NULL,
    bucket INTEGER NOT NULL,
    lines  INTEGER NOT NULL,
    PRIMARY KEY (tenant, source, facet, bucket)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_line_counts_by_bucket ON log_line_counts (bucket);

-- How far whoever turns events into lines has come; moves in the transaction of the lines.
CREATE TABLE log_line_readers (
    reader   TEXT    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;

-- The words of each line, by its id. The words are stored nowhere else and nothing but their presence is kept.
CREATE VIRTUAL TABLE log_line_words USING fts5 (
    words, content = '', contentless_delete = 1, detail = 'none', tokenize = "unicode61 remove_diacritics 0 tokenchars '_'"
);

-- Which words there are.
CREATE VIRTUAL TABLE log_line_terms USING fts5vocab (log_line_words, instance);
