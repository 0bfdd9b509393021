//! On what the figures were taken.

use std::fs;

/// Processor, memory, kernel.
pub(crate) fn describe() -> String {
    let processors = read("/proc/cpuinfo");
    let model = field(&processors, "model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo");
    let memory = field(&memory, "MemTotal").and_then(|size| size.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "Machine: {model}, {cores} cores, {} GiB, Linux {}. SQLite {}.\n{}\n",
        memory / (1024 * 1024),
        kernel.trim(),
        rusqlite::version(),
        load()
    )
}

/// How busy the machine was with whatever else.
pub(crate) fn load() -> String {
    let text = read("/proc/loadavg");
    let averages: Vec<&str> = text.split(' ').take(3).collect();
    format!("Load average: {}.", averages.join(" "))
}

/// The value behind `name` in a file of lines like `name: value`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// Memory that the process has in use, in MiB.
pub(crate) fn resident_mebibytes(process: u32) -> f64 {
    let status = read(&format!("/proc/{process}/status"));
    let kibibytes = field(&status, "VmRSS").and_then(|size| size.split(' ').next()?.parse::<f64>().ok());
    kibibytes.unwrap() / 1024.0
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
