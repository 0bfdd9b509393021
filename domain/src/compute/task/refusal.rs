//! Why a task does not do what it is told.

use super::TaskStatus;
use crate::refusal::{Refusal, RefusalKind};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    #[error("there is no such task")]
    NotFound,
    #[error("this task has been submitted before")]
    AlreadySubmitted,
    #[error("the title must have 1 to 200 characters, none of them a control character")]
    TitleOutOfRange,
    #[error("the description must have at most 5000 characters, none of them a control character")]
    DescriptionOutOfRange,
    #[error("the type must be a word of at most 50 letters, digits, _ or -")]
    TypeInvalid,
    #[error("the priority must be between 1 and 5")]
    PriorityOutOfRange,
    #[error("the estimated duration must be between 1 and 10080 minutes")]
    DurationOutOfRange,
    #[error("config: {0}")]
    Config(#[from] ConfigFault),
    #[error("no more than {0} tasks of a user may wait or run at the same time")]
    TooMany(u64),
    #[error("the available balance does not cover the estimate")]
    InsufficientBalance,
    #[error("the task is {}", .0.as_str())]
    IllegalState(TaskStatus),
    #[error("the progress must be between 0 and 100")]
    ProgressOutOfRange,
    #[error("the lease {0} is not, or no longer, the lease of this task")]
    LeaseLost(u32),
    #[error("the result is larger than 256 KB, or holds a character of value 0")]
    ResultUnfit,
}

/// What is wrong with the `config` of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    #[error("it must be an object")]
    NoObject,
    #[error("it is larger than 64 KB")]
    TooLarge,
    #[error("it holds a character of value 0")]
    Nul,
    #[error("command must be a list of words")]
    NoWords,
    #[error("command names no program")]
    NoProgram,
    #[error("command has more than 100 words, or a zero byte")]
    CommandOutOfRange,
    #[error("image must be a word")]
    Image,
    #[error("gpu_count must be a whole number between 0 and 16")]
    GpuCount,
    #[error("memory_gb must be a number between 0 and 10000")]
    MemoryGb,
    #[error("timeout_seconds must be a whole number between 5 and 604800")]
    TimeoutSeconds,
    #[error("ttl_seconds must be a whole number between 10 and 604800")]
    TtlSeconds,
}

impl Refusal for TaskError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadySubmitted => RefusalKind::AlreadyExists,
            Self::TitleOutOfRange
            | Self::DescriptionOutOfRange
            | Self::TypeInvalid
            | Self::PriorityOutOfRange
            | Self::DurationOutOfRange
            | Self::Config(_)
            | Self::ProgressOutOfRange
            | Self::ResultUnfit => RefusalKind::Invalid,
            Self::TooMany(_) => RefusalKind::LimitExceeded,
            Self::InsufficientBalance => RefusalKind::InsufficientFunds,
            Self::IllegalState(_) | Self::LeaseLost(_) => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "task.not_found",
            Self::AlreadySubmitted => "task.already_submitted",
            Self::TitleOutOfRange => "task.title_out_of_range",
            Self::DescriptionOutOfRange => "task.description_out_of_range",
            Self::TypeInvalid => "task.type_invalid",
            Self::PriorityOutOfRange => "task.priority_out_of_range",
            Self::DurationOutOfRange => "task.duration_out_of_range",
            Self::Config(_) => "task.config_invalid",
            Self::TooMany(_) => "task.too_many",
            Self::InsufficientBalance => "task.insufficient_balance",
            Self::IllegalState(_) => "task.illegal_state",
            Self::ProgressOutOfRange => "task.progress_out_of_range",
            Self::LeaseLost(_) => "task.lease_lost",
            Self::ResultUnfit => "task.result_unfit",
        }
    }
}
