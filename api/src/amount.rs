//! Money on the wire: a JSON number. Up to 15 digits are read and written as they stand; of a longer number the reader of JSON
//! keeps what a float holds, and a text of more digits than a decimal holds is refused.

use projections::DecimalText;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use utoipa::ToSchema;

/// What a reader says of everything that is no number.
pub const NOT_A_NUMBER: &str = "must be a number";

/// A decimal that a document shows as a number. A string of digits is read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = f64)]
pub struct Amount(pub Decimal);

impl From<DecimalText> for Amount {
    fn from(decimal: DecimalText) -> Self {
        Self(decimal.0)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The shortest text that reads back as the same float is the decimal itself, up to 15 digits.
        serializer.serialize_f64(self.0.to_f64().unwrap_or(0.0))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(de::Error::custom(NOT_A_NUMBER));
            }
        };
        // The parser of decimals passes over underscores.
        if text.contains('_') {
            return Err(de::Error::custom(NOT_A_NUMBER));
        }
        // Digits beyond what a decimal holds are refused rather than rounded.
        let parsed = Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text));
        parsed.map(Self).map_err(|_| de::Error::custom(format_args!("{NOT_A_NUMBER} of at most 28 digits")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_the_wire() {
        for text in ["0.1", "100.5", "1000000000.01", "0.00000001", "-12.5"] {
            let amount: Amount = serde_json::from_str(text).unwrap();
            assert_eq!(amount.0, text.parse().unwrap());
            assert_eq!(serde_json::from_str::<Amount>(&serde_json::to_string(&amount).unwrap()).unwrap(), amount);
        }
        assert_eq!(serde_json::to_string(&Amount(Decimal::from(100))).unwrap(), "100.0");
        assert!(serde_json::from_str::<Amount>("true").is_err());
        assert!(serde_json::from_str::<Amount>("\"ten\"").is_err());
        assert!(serde_json::from_str::<Amount>("1e400").is_err());
        assert!(serde_json::from_str::<Amount>("\"5_0\"").is_err());
        assert!(serde_json::from_str::<Amount>("\"0.00999999999999999999999999999999\"").is_err());
    }
}
