//! Why a server is not changed.

use super::TASKS_MAX;
use crate::refusal::{Refusal, RefusalKind};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuServerError {
    #[error("there is no such server")]
    NotFound,
    #[error("this server is registered already")]
    AlreadyRegistered,
    #[error("the name must have 1 to 100 characters, none of them a control character")]
    NameOutOfRange,
    #[error("the host must have 1 to 255 characters, none of them a control character")]
    HostOutOfRange,
    #[error("the description must have at most 500 characters, none of them a control character")]
    DescriptionOutOfRange,
    #[error("a server runs between 1 and {TASKS_MAX} tasks at the same time")]
    TasksOutOfRange,
}

impl Refusal for GpuServerError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRegistered => RefusalKind::AlreadyExists,
            Self::NameOutOfRange | Self::HostOutOfRange | Self::DescriptionOutOfRange | Self::TasksOutOfRange => {
                RefusalKind::Invalid
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "gpu_server.not_found",
            Self::AlreadyRegistered => "gpu_server.already_registered",
            Self::NameOutOfRange => "gpu_server.name_out_of_range",
            Self::HostOutOfRange => "gpu_server.host_out_of_range",
            Self::DescriptionOutOfRange => "gpu_server.description_out_of_range",
            Self::TasksOutOfRange => "gpu_server.tasks_out_of_range",
        }
    }
}
