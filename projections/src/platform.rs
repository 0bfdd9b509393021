//! Lists of what the installation itself keeps.

pub mod mails;
