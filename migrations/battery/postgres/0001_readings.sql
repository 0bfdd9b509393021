-- Battery readings: measurements, not state. Times are microseconds since 1970, UTC. The first reading of a device and
-- time stays.
CREATE TABLE battery_readings (
    device       uuid    NOT NULL,
    recorded_at  bigint  NOT NULL,
    -- The order in which readings arrived, of all devices.
    arrival      bigint  NOT NULL,
    level        integer NOT NULL,
    charging     boolean NOT NULL,
    power_saving integer NOT NULL,
    temperature  double precision,
    voltage      double precision,
    received_at  bigint  NOT NULL,
    PRIMARY KEY (device, recorded_at)
);
CREATE UNIQUE INDEX battery_arrivals ON battery_readings (arrival);

-- The readings of each hour that has some, added up. They stay when the readings are dropped.
CREATE TABLE battery_hours (
    device    uuid    NOT NULL,
    hour      bigint  NOT NULL,
    readings  bigint  NOT NULL,
    level_sum bigint  NOT NULL,
    level_min integer NOT NULL,
    level_max integer NOT NULL,
    low       bigint  NOT NULL,
    charging  bigint  NOT NULL,
    PRIMARY KEY (device, hour)
);

-- When each device was last heard of, by the clock of the servers.
CREATE TABLE battery_seen (
    device    uuid   NOT NULL PRIMARY KEY,
    last_seen bigint NOT NULL
);

-- One row: the last arrival, and since when readings are kept. Who adds readings locks it until they are committed, so
-- arrivals become visible in their order, with any number of servers.
CREATE TABLE battery_head (
    arrival   bigint NOT NULL,
    kept_from bigint NOT NULL
);
INSERT INTO battery_head VALUES (0, 0);
