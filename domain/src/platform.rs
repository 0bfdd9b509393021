//! What the installation itself keeps: number series, settings and mail.

pub mod mail;
pub mod number_series;
pub mod settings;
