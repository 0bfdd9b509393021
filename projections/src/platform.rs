//! Read models of what the installation itself keeps.

pub mod mails;
pub mod settings;
