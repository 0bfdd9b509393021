-- Candles: measurements, not state. One row a candle; the first reading of it stays.
CREATE TABLE candles (
    symbol    text   NOT NULL,
    timeframe text   NOT NULL,
    -- Microseconds since 1970, UTC.
    open_time bigint NOT NULL,
    -- When it is over: what a reader at some moment may know.
    closed_at bigint NOT NULL,
    -- Decimals, as text.
    open      text   NOT NULL,
    high      text   NOT NULL,
    low       text   NOT NULL,
    close     text   NOT NULL,
    volume    text   NOT NULL,
    PRIMARY KEY (symbol, timeframe, open_time)
);
