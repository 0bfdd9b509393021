//! What a market did in one stretch of time. Candles are measurements, not state: they are stored beside the log.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Highest price of one unit, in units of the quote currency.
pub const PRICE_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// Largest volume of one candle.
pub const VOLUME_MAX: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);
/// Most digits behind the point of a price or volume.
pub const SCALE_MAX: u32 = 12;
/// Longest name of a market.
pub const SYMBOL_LENGTH_MAX: usize = 20;

/// How long one candle lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timeframe {
    #[serde(rename = "1m")]
    OneMinute,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "15m")]
    QuarterHour,
    #[serde(rename = "1h")]
    OneHour,
    #[serde(rename = "4h")]
    FourHours,
    #[serde(rename = "1d")]
    OneDay,
}

impl Timeframe {
    /// All of them, the shortest first.
    pub const ALL: [Self; 6] =
        [Self::OneMinute, Self::FiveMinutes, Self::QuarterHour, Self::OneHour, Self::FourHours, Self::OneDay];

    /// The word the trade uses, such as `1h`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneMinute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::OneHour => "1h",
            Self::FourHours => "4h",
            Self::OneDay => "1d",
        }
    }

    /// Its length.
    pub fn length(self) -> TimeDelta {
        TimeDelta::minutes(match self {
            Self::OneMinute => 1,
            Self::FiveMinutes => 5,
            Self::QuarterHour => 15,
            Self::OneHour => 60,
            Self::FourHours => 240,
            Self::OneDay => 1_440,
        })
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no timeframe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("timeframe must be one of 1m, 5m, 15m, 1h, 4h, 1d")]
pub struct UnknownTimeframe;

impl FromStr for Timeframe {
    type Err = UnknownTimeframe;

    fn from_str(word: &str) -> Result<Self, UnknownTimeframe> {
        Self::ALL.into_iter().find(|timeframe| timeframe.as_str() == word).ok_or(UnknownTimeframe)
    }
}

/// The name of a market, such as `BTC/USDT:USDT` (a perpetual in USDT), in capitals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Symbol(String);

/// A text that cannot be the name of a market.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("symbol must be 1 to {SYMBOL_LENGTH_MAX} characters of A-Z, 0-9, '/', ':', '-', '_', '.'")]
pub struct BadSymbol;

impl Symbol {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Symbol {
    type Err = BadSymbol;

    fn from_str(text: &str) -> Result<Self, BadSymbol> {
        let name = text.trim().to_ascii_uppercase();
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "/:-_.".contains(c);
        let fits = (1..=SYMBOL_LENGTH_MAX).contains(&name.len());
        if fits && name.chars().all(allowed) { Ok(Self(name)) } else { Err(BadSymbol) }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One candle; prices in the quote currency, volume in the base currency.
#[derive(Debug, Clone, PartialEq)]
pub struct Candle {
    pub open_time: DateTime<Utc>,
    pub open: Decimal,
    pub high: Decimal,
    pub low: Decimal,
    pub close: Decimal,
    pub volume: Decimal,
}

/// Why a row of numbers is no candle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCandle {
    #[error("{0} must be above 0, at most {PRICE_MAX}, with at most {SCALE_MAX} decimals")]
    Price(&'static str),
    #[error("volume must be 0 or more, at most {VOLUME_MAX}, with at most {SCALE_MAX} decimals")]
    Volume,
    #[error("high must not be below open, close or low, and low not above them")]
    Range,
    #[error("open_time is not the start of a candle of {0}")]
    OpenTime(Timeframe),
}

impl Candle {
    /// When it is over and its close is known.
    pub fn closed_at(&self, timeframe: Timeframe) -> DateTime<Utc> {
        self.open_time + timeframe.length()
    }

    /// Checks that the numbers can be a candle of `timeframe`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, timeframe: Timeframe) -> Result<(), BadCandle> {
        let prices = [("open", self.open), ("high", self.high), ("low", self.low), ("close", self.close)];
        for (name, price) in prices {
            if price <= Decimal::ZERO || price > PRICE_MAX || price.normalize().scale() > SCALE_MAX {
                return Err(BadCandle::Price(name));
            }
        }
        let volume = self.volume;
        if volume < Decimal::ZERO || volume > VOLUME_MAX || volume.normalize().scale() > SCALE_MAX {
            return Err(BadCandle::Volume);
        }
        if self.high < self.open.max(self.close) || self.low > self.open.min(self.close) {
            return Err(BadCandle::Range);
        }
        let micros = timeframe.length().num_milliseconds() * 1_000;
        if self.open_time.timestamp_micros().rem_euclid(micros) != 0 {
            return Err(BadCandle::OpenTime(timeframe));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candle(open: i64, high: i64, low: i64, close: i64) -> Candle {
        Candle {
            open_time: DateTime::from_timestamp(1_735_689_600, 0).unwrap(),
            open: open.into(),
            high: high.into(),
            low: low.into(),
            close: close.into(),
            volume: Decimal::ONE,
        }
    }

    #[test]
    fn timeframes_are_read_and_written_alike() {
        for timeframe in Timeframe::ALL {
            assert_eq!(timeframe.as_str().parse(), Ok(timeframe));
            assert_eq!(serde_json::to_string(&timeframe).unwrap(), format!("\"{timeframe}\""));
        }
        assert_eq!("2h".parse::<Timeframe>(), Err(UnknownTimeframe));
    }

    #[test]
    fn symbols_are_in_capitals_and_short() {
        assert_eq!(" btc/usdt:usdt ".parse::<Symbol>().unwrap().as_str(), "BTC/USDT:USDT");
        for bad in ["", "BTC USDT", "比特币", "AAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(bad.parse::<Symbol>(), Err(BadSymbol), "{bad}");
        }
    }

    #[test]
    fn impossible_candles_are_named() {
        assert_eq!(candle(10, 12, 9, 11).check(Timeframe::OneHour), Ok(()));
        assert_eq!(candle(10, 12, 9, 11).closed_at(Timeframe::OneHour).timestamp(), 1_735_693_200);
        assert_eq!(candle(0, 12, 9, 11).check(Timeframe::OneHour), Err(BadCandle::Price("open")));
        assert_eq!(candle(10, 10, 9, 11).check(Timeframe::OneHour), Err(BadCandle::Range));
        assert_eq!(candle(10, 12, 11, 11).check(Timeframe::OneHour), Err(BadCandle::Range));
        let late = Candle { open_time: DateTime::from_timestamp(1_735_689_601, 0).unwrap(), ..candle(10, 12, 9, 11) };
        assert_eq!(late.check(Timeframe::OneHour), Err(BadCandle::OpenTime(Timeframe::OneHour)));
        let endless = Candle { volume: Decimal::NEGATIVE_ONE, ..candle(10, 12, 9, 11) };
        assert_eq!(endless.check(Timeframe::OneHour), Err(BadCandle::Volume));
        assert_eq!(VOLUME_MAX.to_string(), "1000000000000000");
    }
}
