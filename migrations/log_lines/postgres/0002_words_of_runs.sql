-- Every word begins with the run of 16,384 ids that its line is of (three hexadecimal digits) and with its tenant and
-- source (two, of a hash), and every line has a word for each other column that a search can be limited to (a hash of
-- eight). So the index is asked about the newest run first, and never collects more lines than a run has.
DROP INDEX log_lines_by_word;

CREATE FUNCTION pg_temp.hash(name text, digits integer) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), digits) $$;
CREATE FUNCTION pg_temp.simple(id uuid) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT replace(id::text, '-', '') $$;

UPDATE log_lines SET words = array_to_tsvector(ARRAY(
    SELECT lpad(to_hex(id / 16384 % 4096), 3, '0') || pg_temp.hash(all_lines, 2) || word
    FROM (SELECT '_' || source || '_' || pg_temp.simple(tenant)) AS mark (all_lines), unnest(tsvector_to_array(words) || ARRAY[
        '_' || pg_temp.hash(all_lines || '_' || lower(level), 8),
        '_' || pg_temp.hash(all_lines || '_u' || pg_temp.simple(user_id), 8),
        '_' || pg_temp.hash(all_lines || '_t' || pg_temp.simple(task_id), 8)
    ]) AS word
    WHERE word IS NOT NULL
));

-- Words are sorted in at once: what waits to be sorted in would be read for every run.
CREATE INDEX log_lines_by_word ON log_lines USING gin (words) WITH (fastupdate = off);
