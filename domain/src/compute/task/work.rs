//! What a task asks for, checked before it stands in line.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Number, Value, json};

use super::refusal::{ConfigFault, TaskError};
use crate::compute::scheduling::Needs;
use crate::{payload, plain_text};

/// Lowest and highest priority; the higher is served first.
pub const PRIORITIES: std::ops::RangeInclusive<u8> = 1..=5;
/// Largest `config`, in bytes of JSON.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;
/// Longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 200;
/// Longest description, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 5_000;
/// Longest type, in bytes.
const TYPE_BYTES_MAX: usize = 50;
/// Most GPUs one task may need.
pub const GPUS_MAX: u32 = 16;
/// Minutes that are held for a task whose duration nobody estimated.
pub const MINUTES_ASSUMED: u32 = 10;
/// Longest estimate and longest run: seven days.
pub const MINUTES_MAX: u32 = 7 * 24 * 60;
const SECONDS_MAX: u32 = MINUTES_MAX * 60;
const COMMAND_WORDS_MAX: usize = 100;

/// What somebody wants done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRequest {
    pub title: String,
    pub description: Option<String>,
    pub task_type: String,
    pub priority: u8,
    /// As the user estimates it.
    pub estimated_minutes: Option<u32>,
    /// What to run, and whatever else the task's program reads.
    pub config: Value,
}

/// The part of `config` that the platform reads. Everything else is the task's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Work {
    /// The program and its arguments; the server's own program for the type of task when it is missing.
    pub command: Option<Vec<String>>,
    /// The image it runs in, on servers that use containers.
    pub image: Option<String>,
    pub gpu_count: u32,
    #[serde(deserialize_with = "number")]
    pub memory_gb: Decimal,
    /// How long it may run, from its start.
    pub timeout_seconds: Option<u32>,
    /// How long it may wait and run, from its submission.
    pub ttl_seconds: Option<u32>,
}

/// A decimal that stands as a number.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    let text = Number::deserialize(deserializer)?.to_string();
    text.parse().or_else(|_| Decimal::from_scientific(&text)).map_err(de::Error::custom)
}

impl Work {
    /// Reads the platform's part of a task's `config`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(config: &Value) -> Result<Self, ConfigFault> {
        if !config.is_object() {
            return Err(ConfigFault::NoObject);
        }
        let text = config.to_string();
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigFault::TooLarge);
        }
        if payload::holds_nul(&text) {
            return Err(ConfigFault::Nul);
        }
        let work = Self::read(config)?;
        work.check()?;
        Ok(work)
    }

    fn read(config: &Value) -> Result<Self, ConfigFault> {
        let keys = config.as_object().ok_or(ConfigFault::NoObject)?;
        Self::deserialize(config).map_err(|_| ill_typed(keys))
    }

    fn check(&self) -> Result<(), ConfigFault> {
        let command = self.command.as_deref().unwrap_or(&[]);
        if self.command.is_some() && command.first().is_none_or(String::is_empty) {
            return Err(ConfigFault::NoProgram);
        }
        if command.len() > COMMAND_WORDS_MAX || command.iter().any(|word| word.contains('\0')) {
            return Err(ConfigFault::CommandOutOfRange);
        }
        if self.gpu_count > GPUS_MAX {
            return Err(ConfigFault::GpuCount);
        }
        if self.memory_gb < Decimal::ZERO || self.memory_gb > Decimal::from(10_000) {
            return Err(ConfigFault::MemoryGb);
        }
        if self.timeout_seconds.is_some_and(|seconds| !(5..=SECONDS_MAX).contains(&seconds)) {
            return Err(ConfigFault::TimeoutSeconds);
        }
        if self.ttl_seconds.is_some_and(|seconds| !(10..=SECONDS_MAX).contains(&seconds)) {
            return Err(ConfigFault::TtlSeconds);
        }
        Ok(())
    }

    /// What it needs of a server.
    pub fn needs(&self) -> Needs {
        Needs { gpus: self.gpu_count, memory_gb: self.memory_gb }
    }
}

/// The first key that cannot be read even alone.
fn ill_typed(config: &Map<String, Value>) -> ConfigFault {
    let ill_typed = config.iter().find(|(key, value)| Work::deserialize(json!({ key.as_str(): value })).is_err());
    match ill_typed.map(|(key, _)| key.as_str()) {
        Some("command") => ConfigFault::NoWords,
        Some("image") => ConfigFault::Image,
        Some("gpu_count") => ConfigFault::GpuCount,
        Some("memory_gb") => ConfigFault::MemoryGb,
        Some("timeout_seconds") => ConfigFault::TimeoutSeconds,
        Some("ttl_seconds") => ConfigFault::TtlSeconds,
        // No other key is read.
        Some(_) | None => ConfigFault::NoObject,
    }
}

impl TaskRequest {
    /// Everything that is wrong with it.
    pub fn objections(&self) -> Vec<TaskError> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let title_chars = self.title.trim().chars().count();
        let is_description = |text: &str| text.chars().count() <= DESCRIPTION_CHARS_MAX && plain_text::are_lines(text);
        let is_title = (1..=TITLE_CHARS_MAX).contains(&title_chars) && plain_text::is_line(&self.title);
        let is_type = (1..=TYPE_BYTES_MAX).contains(&self.task_type.len()) && self.task_type.chars().all(word);
        let checks = [
            (is_title, TaskError::TitleOutOfRange),
            (self.description.as_deref().is_none_or(is_description), TaskError::DescriptionOutOfRange),
            (is_type, TaskError::TypeInvalid),
            (PRIORITIES.contains(&self.priority), TaskError::PriorityOutOfRange),
            (self.estimated_minutes.is_none_or(|m| (1..=MINUTES_MAX).contains(&m)), TaskError::DurationOutOfRange),
        ];
        let of_fields = checks.into_iter().filter_map(|(holds, objection)| (!holds).then_some(objection));
        of_fields.chain(Work::of(&self.config).err().map(TaskError::Config)).collect()
    }

    pub(super) fn check(&self) -> Result<Work, TaskError> {
        match self.objections().into_iter().next() {
            Some(objection) => Err(objection),
            None => Ok(Work::of(&self.config)?),
        }
    }
}

/// What a minute on one GPU costs, by the type of task. A task that needs no GPU pays for one.
pub fn rate_per_minute(task_type: &str) -> Decimal {
    match task_type {
        "training" => Decimal::new(10, 2),
        "data_processing" => Decimal::new(3, 2),
        // Inference, and every type that has no rate of its own.
        _ => Decimal::new(5, 2),
    }
}

/// What `time` costs at `rate` a minute, to the next cent.
pub fn cost(rate: Decimal, time: TimeDelta) -> Decimal {
    // Multiplied first: a division may not come out even, and what is a cent exactly would be rounded up to two.
    let of_milliseconds = rate * Decimal::from(time.num_milliseconds().max(0));
    (of_milliseconds / Decimal::from(60_000)).round_dp_with_strategy(2, rust_decimal::RoundingStrategy::AwayFromZero)
}
