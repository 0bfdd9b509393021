//! What the installation itself keeps: number series and mail.

pub mod mail;
pub mod number_series;
