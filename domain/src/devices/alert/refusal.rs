//! Why nothing can be done about an alert.

use crate::refusal::{Refusal, RefusalKind};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    #[error("the alert is resolved")]
    Over,
    #[error("an alert that is acknowledged or resolved does not become active again")]
    CannotBeReopened,
}

impl Refusal for AlertError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Over | Self::CannotBeReopened => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Over => "alert.over",
            Self::CannotBeReopened => "alert.cannot_be_reopened",
        }
    }
}
