-- Log lines: what programs said while they ran, not state. `id` is the order of arrival: whoever appends holds a lock.
CREATE TABLE log_lines (
    id         bigint   PRIMARY KEY CHECK (id > 0),
    -- Microseconds since 1970, UTC. Within one source it never falls while `id` rises.
    at         bigint   NOT NULL,
    tenant     uuid     NOT NULL,
    source     text     NOT NULL,
    level      text     NOT NULL,
    message    text     NOT NULL,
    -- A JSON object.
    fields     text     NOT NULL,
    request_id uuid,
    user_id    uuid,
    task_id    uuid,
    words      tsvector NOT NULL
);

CREATE INDEX log_lines_of_tenants ON log_lines (tenant, source, id);
CREATE INDEX log_lines_of_levels ON log_lines (tenant, source, level, id);
CREATE INDEX log_lines_of_users ON log_lines (user_id, tenant, source, id) WHERE user_id IS NOT NULL;
CREATE INDEX log_lines_of_tasks ON log_lines (task_id, tenant, source, id) WHERE task_id IS NOT NULL;
CREATE INDEX log_lines_of_levels_of_tasks ON log_lines (task_id, tenant, source, level, id) WHERE task_id IS NOT NULL;
CREATE INDEX log_lines_by_time ON log_lines (source, at);
-- A short list of what is not sorted in yet, because every search reads it.
CREATE INDEX log_lines_by_word ON log_lines USING gin (words) WITH (gin_pending_list_limit = 512);

-- How many lines of a facet (all, a level, a user, a task, a level of a task) stand in each run of 4,096 ids: totals and
-- deep pages without counting lines.
CREATE TABLE log_line_counts (
    tenant uuid   NOT NULL,
    source text   NOT NULL,
    facet  text   NOT NULL,
    bucket bigint NOT NULL,
    lines  bigint NOT NULL,
    PRIMARY KEY (tenant, source, facet, bucket)
);
CREATE INDEX log_line_counts_by_bucket ON log_line_counts (bucket);

-- How far whoever turns events into lines has come; moves in the transaction of the lines.
CREATE TABLE log_line_readers (
    reader   text   NOT NULL PRIMARY KEY,
    position bigint NOT NULL
);
