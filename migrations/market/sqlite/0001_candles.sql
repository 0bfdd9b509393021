-- Candles: measurements, not state. One row a candle; the first reading of it stays.
CREATE TABLE candles (
    symbol    TEXT    NOT NULL,
    timeframe TEXT    NOT NULL,
    -- Microseconds since 1970, UTC.
    open_time INTEGER NOT NULL,
    -- When it is over: what a reader at some moment may know.
    closed_at INTEGER NOT NULL,
    -- Decimals, as text.
    open      TEXT    NOT NULL,
    high      TEXT    NOT NULL,
    low       TEXT    NOT NULL,
    close     TEXT    NOT NULL,
    volume    TEXT    NOT NULL,
    PRIMARY KEY (symbol, timeframe, open_time)
) STRICT, WITHOUT ROWID;
