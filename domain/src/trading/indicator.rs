//! Indicators, computed by TA-Lib. They are readings of the market, so they are floating point; money never is.

use rust_decimal::prelude::ToPrimitive;
use ta_lib::Core;

use crate::trading::candle::Candle;

/// Relative strength index (Wilder, 1978) over closes: 0 to 100. The first value belongs to candle `period`, so the
/// answer has `period` values fewer than there are candles, and none when there are too few.
pub fn rsi(candles: &[Candle], period: u32) -> Vec<f64> {
    let closes: Vec<f64> = candles.iter().filter_map(|candle| candle.close.to_f64()).collect();
    let (Some(last), Ok(period)) = (closes.len().checked_sub(1), i32::try_from(period)) else {
        return vec![];
    };
    let mut values = vec![0.0; closes.len()];
    let count = Core::new().rsi(0, last, &closes, period, &mut values).map_or(0, |range| range.count);
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::DateTime;
    use rust_decimal::Decimal;

    use super::*;

    fn candles(closes: &[Decimal]) -> Vec<Candle> {
        let candle = |close: &Decimal| Candle {
            open_time: DateTime::UNIX_EPOCH,
            open: *close,
            high: *close,
            low: *close,
            close: *close,
            volume: Decimal::ZERO,
        };
        closes.iter().map(candle).collect()
    }

    #[test]
    fn wilders_smoothing_by_hand() {
        // Gains 1, 0, 2 and losses 0, 1, 0 with period 2: averages .5/.5, then 1.25/.25.
        let values = rsi(&candles(&[10, 11, 10, 12].map(Decimal::from)), 2);
        assert_eq!(values.len(), 2);
        assert!((values[0] - 50.0).abs() < 1e-9, "{values:?}");
        assert!((values[1] - (100.0 - 100.0 / 6.0)).abs() < 1e-9, "{values:?}");
    }

    #[test]
    fn too_few_candles_give_nothing() {
        assert!(rsi(&[], 14).is_empty());
        assert!(rsi(&candles(&[Decimal::ONE; 14]), 14).is_empty());
        assert_eq!(rsi(&candles(&[Decimal::ONE; 15]), 14).len(), 1);
    }

    /// Bitcoin in January 2025 against reference values, where the shared data lie above the workspace.
    #[test]
    fn it_agrees_with_the_reference_values() {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let Some(data) = above.map(|folder| folder.join("shared/data")).find(|data| data.is_dir()) else { return };
        let prices = std::fs::read_to_string(data.join("btcusdt-1h-2025-01.csv")).unwrap();
        let expected = std::fs::read_to_string(data.join("btcusdt-1h-2025-01.rsi14.csv")).unwrap();
        let column = |text: &str, n: usize| -> Vec<String> {
            text.lines().skip(1).filter_map(|line| line.split(',').nth(n).map(str::to_owned)).collect()
        };
        let closes: Vec<Decimal> = column(&prices, 4).iter().map(|close| close.parse().unwrap()).collect();
        let values = rsi(&candles(&closes), 14);
        let expected: Vec<f64> = column(&expected, 1).iter().map(|value| value.parse().unwrap()).collect();
        assert_eq!((values.len(), expected.len()), (730, 730));
        assert!(values.iter().zip(&expected).all(|(value, wanted)| (value - wanted).abs() < 1e-9));
    }
}
