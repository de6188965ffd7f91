//! Every value that a histogram of the product is given, for exact percentiles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

type Values = Arc<Mutex<Vec<f64>>>;

#[derive(Default)]
pub(super) struct Samples(Mutex<HashMap<String, Values>>);

struct Taker(Values);

impl HistogramFn for Taker {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Samples {
    /// Becomes the process's recorder.
    pub(super) fn install() -> &'static Self {
        let samples: &'static Self = Box::leak(Box::default());
        metrics::set_global_recorder(samples).map_err(|_| "a second recorder").unwrap();
        samples
    }

    fn of(&self, name: &str) -> Values {
        Arc::clone(self.0.lock().unwrap().entry(name.to_owned()).or_default())
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.of(name).lock().unwrap().len()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().values().for_each(|values| values.lock().unwrap().clear());
    }

    /// Percentiles of a histogram, in ms.
    pub(super) fn line(&self, name: &str) -> String {
        let values: Vec<f64> = self.of(name).lock().unwrap().iter().map(|seconds| seconds * 1e3).collect();
        line(values)
    }
}

/// Percentiles of values.
pub(super) fn line(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)));
    let at = |share| at(share).copied().unwrap_or(f64::NAN);
    format!("p50 {:>7.1}  p95 {:>7.1}  p99 {:>7.1}  of {}", at(0.5), at(0.95), at(0.99), values.len())
}

impl Recorder for &'static Samples {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Taker(self.of(key.name()))))
    }
}
