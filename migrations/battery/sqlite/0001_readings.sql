-- Battery readings: measurements, not state. Times are microseconds since 1970, UTC. The first reading of a device and
-- time stays. The table lies in the order of the questions: one device, a stretch of time.
CREATE TABLE battery_readings (
    device       BLOB    NOT NULL,
    recorded_at  INTEGER NOT NULL,
    -- The order in which readings arrived, of all devices.
    arrival      INTEGER NOT NULL,
    level        INTEGER NOT NULL,
    charging     INTEGER NOT NULL,
    power_saving INTEGER NOT NULL,
    temperature  REAL,
    voltage      REAL,
    received_at  INTEGER NOT NULL,
    PRIMARY KEY (device, recorded_at)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX battery_arrivals ON battery_readings (arrival);

-- The readings of each hour that has some, added up. They stay when the readings are dropped.
CREATE TABLE battery_hours (
    device    BLOB    NOT NULL,
    hour      INTEGER NOT NULL,
    readings  INTEGER NOT NULL,
    level_sum INTEGER NOT NULL,
    level_min INTEGER NOT NULL,
    level_max INTEGER NOT NULL,
    low       INTEGER NOT NULL,
    charging  INTEGER NOT NULL,
    PRIMARY KEY (device, hour)
) STRICT, WITHOUT ROWID;

-- When each device was last heard of, by the clock of the server.
CREATE TABLE battery_seen (
    device    BLOB    NOT NULL PRIMARY KEY,
    last_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: the last arrival, and since when readings are kept.
CREATE TABLE battery_head (
    arrival   INTEGER NOT NULL,
    kept_from INTEGER NOT NULL
) STRICT;
INSERT INTO battery_head VALUES (0, 0);
