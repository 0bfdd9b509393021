//! Decimals in rows.

use rust_decimal::Decimal;
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, StringLen, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryGetError, TryGetable, Value};

/// A decimal in a column of text: it comes back digit for digit, from SQLite too, which has no decimals. A row with
/// anything else cannot be read (`replay rebuild` mends it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecimalText(pub Decimal);

impl From<Decimal> for DecimalText {
    fn from(decimal: Decimal) -> Self {
        Self(decimal)
    }
}

impl From<DecimalText> for Value {
    fn from(decimal: DecimalText) -> Self {
        decimal.0.to_string().into()
    }
}

impl TryGetable for DecimalText {
    fn try_get_by<I: ColIdx>(row: &QueryResult, column: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, column)?;
        text.parse().map(Self).map_err(|error| DbErr::Type(format!("{column:?} is {text:?}: {error}")).into())
    }
}

impl ValueType for DecimalText {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        let text = <String as ValueType>::try_from(value)?;
        text.parse().map(Self).map_err(|_| ValueTypeErr)
    }

    fn type_name() -> String {
        stringify!(DecimalText).to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::String(StringLen::None)
    }
}

impl Nullable for DecimalText {
    fn null() -> Value {
        Value::String(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_or_not_at_all() {
        for text in ["0", "-0.10", "1.50", "79228162514264337593543950335", "0.0000000000000000000000000001"] {
            let decimal = DecimalText(text.parse().unwrap());
            let value = Value::from(decimal);
            assert_eq!(value, Value::from(text));
            assert_eq!(<DecimalText as ValueType>::try_from(value).unwrap(), decimal);
        }
        assert!(<DecimalText as ValueType>::try_from(Value::from("ten")).is_err());
        assert!(<DecimalText as ValueType>::try_from(Value::from("")).is_err());
    }
}
