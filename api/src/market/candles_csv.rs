//! Candles as a table of text: `open_time,open,high,low,close,volume`, one candle a line.

use std::collections::BTreeMap;
use std::io::Read;

use chrono::{DateTime, Utc};
use csv::StringRecord;
use domain::trading::candle::{Candle, Timeframe};
use rust_decimal::Decimal;

const COLUMNS: [&str; 6] = ["open_time", "open", "high", "low", "close", "volume"];
/// Wrong lines that are named before the rest is only counted.
const LINES_NAMED: usize = 10;
/// Most lines of one file.
const LINES_MAX: usize = 5_000_000;

/// Why a table holds no candles.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadTable {
    #[error("the first line must be {}", COLUMNS.join(","))]
    Header,
    #[error("{}", sentence(.lines, *.count))]
    Lines { lines: Vec<(u64, String)>, count: usize },
    #[error("the file has more than {LINES_MAX} lines")]
    TooLong,
}

/// Reads all candles of `timeframe`, in order of time. A candle may stand there twice, but no other one of its time.
pub(super) fn read(table: impl Read, timeframe: Timeframe) -> Result<Vec<Candle>, BadTable> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(table);
    if !reader.headers().is_ok_and(|header| header.iter().eq(COLUMNS)) {
        return Err(BadTable::Header);
    }
    let (mut candles, mut wrong, mut count) = (BTreeMap::new(), Vec::new(), 0);
    for (index, line) in reader.records().enumerate() {
        if index >= LINES_MAX {
            return Err(BadTable::TooLong);
        }
        let place = line.as_ref().ok().and_then(StringRecord::position).map_or(index as u64 + 2, csv::Position::line);
        let read = line.map_err(|error| error.to_string()).and_then(|line| candle(&line, timeframe));
        if let Err(reason) = read.and_then(|candle| put(&mut candles, candle)) {
            count += 1;
            if wrong.len() < LINES_NAMED {
                wrong.push((place, reason));
            }
        }
    }
    if count > 0 { Err(BadTable::Lines { lines: wrong, count }) } else { Ok(candles.into_values().collect()) }
}

fn put(candles: &mut BTreeMap<DateTime<Utc>, Candle>, candle: Candle) -> Result<(), String> {
    match candles.get(&candle.open_time) {
        Some(before) if *before != candle => Err("another candle of this time stands before".to_owned()),
        Some(_) => Ok(()),
        None => {
            candles.insert(candle.open_time, candle);
            Ok(())
        }
    }
}

fn candle(line: &StringRecord, timeframe: Timeframe) -> Result<Candle, String> {
    if line.len() != COLUMNS.len() {
        return Err(format!("{} columns instead of {}", line.len(), COLUMNS.len()));
    }
    let number = |column: usize| -> Result<Decimal, String> {
        let text = &line[column];
        let number = text.parse().or_else(|_| Decimal::from_scientific(text));
        number.map_err(|_| format!("{} is not a number: {text:?}", COLUMNS[column]))
    };
    let candle = Candle {
        open_time: moment(&line[0])?,
        open: number(1)?,
        high: number(2)?,
        low: number(3)?,
        close: number(4)?,
        volume: number(5)?,
    };
    candle.check(timeframe).map_err(|error| error.to_string())?;
    Ok(candle)
}

/// Seconds, milliseconds or microseconds since 1970, told apart by their size: all three name times from 2001 on.
fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let number: i64 = text.parse().map_err(|_| format!("open_time is not a whole number: {text:?}"))?;
    let micros = match number {
        1_000_000_000..100_000_000_000 => number * 1_000_000,
        1_000_000_000_000..100_000_000_000_000 => number * 1_000,
        1_000_000_000_000_000..100_000_000_000_000_000 => number,
        _ => return Err(format!("open_time is not a time since 2001: {text}")),
    };
    DateTime::from_timestamp_micros(micros).ok_or_else(|| format!("open_time is out of range: {text}"))
}

fn sentence(lines: &[(u64, String)], count: usize) -> String {
    let named: Vec<String> = lines.iter().map(|(line, reason)| format!("line {line}: {reason}")).collect();
    let more = count - lines.len();
    let rest = if more > 0 { format!("; and {more} more lines") } else { String::new() };
    format!("{}{rest}. Nothing was imported.", named.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &str) -> Result<Vec<Candle>, BadTable> {
        read(format!("open_time,open,high,low,close,volume\n{lines}").as_bytes(), Timeframe::OneHour)
    }

    #[test]
    fn times_may_be_in_three_units() {
        let same = "1735689600,1,2,1,2,0\n1735689600000,1,2,1,2,0\n1735689600000000,1,2,1,2,0\n";
        let candles = table(same).unwrap();
        let times: Vec<_> = candles.iter().map(|candle| candle.open_time.timestamp()).collect();
        assert_eq!(times, [1_735_689_600]);
    }

    #[test]
    fn a_time_has_one_candle() {
        let two = table("1735689600,1,2,1,2,0\n1735689600,1,2,1,1.5,0\n").unwrap_err().to_string();
        assert_eq!(two, "line 3: another candle of this time stands before. Nothing was imported.");
    }

    #[test]
    fn wrong_lines_are_named_and_nothing_is_read() {
        let error = table("1735689600,1,2,1,2,0\n1735689601,1,2,1,2,0\nx,1,2,1,2,0\n1735693200,1,2,1\n").unwrap_err();
        let expected = "line 3: open_time is not the start of a candle of 1h; \
            line 4: open_time is not a whole number: \"x\"; line 5: 4 columns instead of 6. Nothing was imported.";
        assert_eq!(error.to_string(), expected);
        let many = table(&"0,1,2,1,2,0\n".repeat(12)).unwrap_err().to_string();
        assert!(many.ends_with("; and 2 more lines. Nothing was imported."), "{many}");
    }

    #[test]
    fn numbers_are_checked() {
        let reason = |line: &str| table(line).unwrap_err().to_string();
        assert!(reason("1735689600,NaN,2,1,2,0\n").starts_with("line 2: open is not a number: \"NaN\""));
        assert!(reason("1735689600,1,2,1,-2,0\n").starts_with("line 2: close must be above 0"));
        assert!(reason("1735689600,1,1,1,2,0\n").starts_with("line 2: high must not be below"));
    }

    #[test]
    fn a_table_needs_its_first_line() {
        assert_eq!(read("time,price\n1,2\n".as_bytes(), Timeframe::OneHour), Err(BadTable::Header));
        assert_eq!(read("".as_bytes(), Timeframe::OneHour), Err(BadTable::Header));
        assert_eq!(table(""), Ok(vec![]));
    }
}
