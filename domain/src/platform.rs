//! What the installation itself keeps: number series and settings.

pub mod number_series;
pub mod settings;
