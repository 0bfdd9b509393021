//! Loads by clients that each wait for their answer, and what they come to.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one load came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Load {
    /// `latencies` of everything that was done in `elapsed`.
    pub(crate) fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        Self { per_second: rate(latencies.len(), elapsed), p50: at(50), p99: at(99) }
    }

    /// Each figure's median.
    pub(crate) fn median(loads: &[Self]) -> Self {
        Self {
            per_second: median(loads.iter().map(|load| load.per_second)),
            p50: Duration::from_secs_f64(median(loads.iter().map(|load| load.p50.as_secs_f64()))),
            p99: Duration::from_secs_f64(median(loads.iter().map(|load| load.p99.as_secs_f64()))),
        }
    }
}

/// So many a second.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark stay far below 2^52")]
pub(crate) fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The one in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `clients` do `work` again and again for `lasting`. Answers how long each took.
pub(crate) async fn clients<F, W>(clients: usize, lasting: Duration, work: F) -> Vec<Duration>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = ()> + Send,
{
    let (work, end) = (Arc::new(work), Instant::now() + lasting);
    let one = |work: Arc<F>| async move {
        let mut latencies = Vec::new();
        let mut begun = Instant::now();
        while begun < end {
            work().await;
            let done = Instant::now();
            latencies.push(done - begun);
            begun = done;
        }
        latencies
    };
    let running: Vec<_> = (0..clients).map(|_| tokio::spawn(one(Arc::clone(&work)))).collect();
    let mut latencies = Vec::new();
    for client in running {
        latencies.append(&mut client.await.unwrap());
    }
    latencies
}

/// A runtime like that of the server.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}
