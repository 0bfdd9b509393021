//! What the machine has, and how much of it is used: measured, never assumed.

use std::sync::{Mutex, PoisonError};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use serde::Serialize;
use serde_json::{Value, json};
use sysinfo::System;

#[expect(clippy::cast_precision_loss, reason = "to a byte in eight petabytes")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0 * 1024.0)
}

/// The figures of a heartbeat.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    cpu_usage: f64,
    pub(super) memory_used_gb: f64,
    pub(super) memory_total_gb: f64,
    pub(super) gpus: Vec<Gpu>,
    /// Why no GPU is measured, when none is.
    gpu_note: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Gpu {
    name: String,
    usage: f64,
    pub(super) memory_used_gb: f64,
    pub(super) memory_total_gb: f64,
}

impl Figures {
    /// What the machine has: GPUs, and the memory of these, or its own where there are none.
    pub(super) fn equipment(&self) -> Value {
        let of_gpus: f64 = self.gpus.iter().map(|gpu| gpu.memory_total_gb).sum();
        let memory_gb = if self.gpus.is_empty() { self.memory_total_gb } else { of_gpus };
        json!({ "gpu_count": self.gpus.len(), "memory_gb": memory_gb })
    }
}

/// Reads the instruments of the machine.
pub(super) struct Meter {
    system: Mutex<System>,
    gpus: Result<Nvml, NvmlError>,
}

impl Meter {
    pub(super) fn new() -> Self {
        let mut system = System::new();
        // Usage is what happens between two readings.
        system.refresh_cpu_usage();
        Self { system: Mutex::new(system), gpus: Nvml::init() }
    }

    pub(super) fn read(&self) -> Figures {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        system.refresh_cpu_usage();
        system.refresh_memory();
        let (gpus, gpu_note) = match self.gpus.as_ref().map_err(ToString::to_string).and_then(read) {
            Ok(gpus) if gpus.is_empty() => (gpus, Some("this machine has no NVIDIA GPU".to_owned())),
            Ok(gpus) => (gpus, None),
            Err(error) => (Vec::new(), Some(format!("no GPU is measured: {error}"))),
        };
        Figures {
            cpu_usage: f64::from(system.global_cpu_usage()),
            memory_used_gb: gigabytes(system.used_memory()),
            memory_total_gb: gigabytes(system.total_memory()),
            gpus,
            gpu_note,
        }
    }
}

fn read(nvml: &Nvml) -> Result<Vec<Gpu>, String> {
    let one = |index| -> Result<Gpu, NvmlError> {
        let device = nvml.device_by_index(index)?;
        let memory = device.memory_info()?;
        Ok(Gpu {
            name: device.name()?,
            usage: f64::from(device.utilization_rates()?.gpu),
            memory_used_gb: gigabytes(memory.used),
            memory_total_gb: gigabytes(memory.total),
        })
    };
    let count = nvml.device_count().map_err(|error| error.to_string())?;
    (0..count).map(|index| one(index).map_err(|error| error.to_string())).collect()
}
