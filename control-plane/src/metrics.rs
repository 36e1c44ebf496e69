//! The control plane's own figures, in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds; the last bucket has none.
const BOUNDS_SECS: [f64; 13] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How long things took.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_SECS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let i = BOUNDS_SECS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_SECS.len());
        if let Some(bucket) = self.buckets.get(i) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn write(&self, name: &str, help: &str, text: &mut String) {
        head(name, "histogram", help, text);
        let mut count = 0;
        let bounds = BOUNDS_SECS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            count += bucket.load(Ordering::Relaxed);
            line(text, format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        let sum = Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)).as_secs_f64();
        line(text, format_args!("{name}_sum {sum}"));
        line(text, format_args!("{name}_count {count}"));
    }
}

/// What is counted as it happens.
#[derive(Default)]
pub(crate) struct Metrics {
    /// From the moment that a revision takes effect here to a node's word that it runs it.
    pub(crate) change_to_applied: Histogram,
    /// Whole configurations that were sent.
    pub(crate) snapshots_sent: AtomicU64,
    /// Differences that were sent.
    pub(crate) deltas_sent: AtomicU64,
}

/// What is looked up when it is asked for.
pub(crate) struct Gauges {
    pub(crate) revision: u64,
    pub(crate) resources: usize,
    pub(crate) nodes_connected: usize,
    pub(crate) nodes_current: usize,
    pub(crate) resources_rejected: usize,
}

impl Metrics {
    /// All figures.
    pub(crate) fn render(&self, gauges: &Gauges) -> String {
        let mut text = String::with_capacity(4096);
        for (name, help, value) in [
            ("tollgate_config_revision", "Revision in force.", gauges.revision.to_string()),
            ("tollgate_config_resources", "Resources in force.", gauges.resources.to_string()),
            (
                "tollgate_nodes_connected",
                "Nodes that are connected, to any control plane.",
                gauges.nodes_connected.to_string(),
            ),
            (
                "tollgate_nodes_current",
                "Connected nodes that run the revision in force.",
                gauges.nodes_current.to_string(),
            ),
            (
                "tollgate_config_rejected",
                "Resources that some node refuses, summed over nodes.",
                gauges.resources_rejected.to_string(),
            ),
        ] {
            head(name, "gauge", help, &mut text);
            line(&mut text, format_args!("{name} {value}"));
        }
        for (name, help, counter) in [
            (
                "tollgate_config_snapshots_sent_total",
                "Whole configurations sent to nodes.",
                &self.snapshots_sent,
            ),
            ("tollgate_config_deltas_sent_total", "Differences sent to nodes.", &self.deltas_sent),
        ] {
            head(name, "counter", help, &mut text);
            line(&mut text, format_args!("{name} {}", counter.load(Ordering::Relaxed)));
        }
        self.change_to_applied.write(
            "tollgate_config_change_to_applied_seconds",
            "From a revision in force to a node's word that it runs it, per node.",
            &mut text,
        );
        text
    }
}

fn head(name: &str, sort: &str, help: &str, text: &mut String) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {sort}"));
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A String takes all that there is memory for.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_observation_in_every_bucket_above_it() {
        let metrics = Metrics::default();
        metrics.change_to_applied.observe(Duration::from_millis(3));
        metrics.change_to_applied.observe(Duration::from_mins(1));
        let gauges = Gauges {
            revision: 7,
            resources: 2,
            nodes_connected: 1,
            nodes_current: 1,
            resources_rejected: 0,
        };
        let text = metrics.render(&gauges);
        for expected in [
            "tollgate_config_revision 7\n",
            "tollgate_config_change_to_applied_seconds_bucket{le=\"0.0025\"} 0\n",
            "tollgate_config_change_to_applied_seconds_bucket{le=\"0.005\"} 1\n",
            "tollgate_config_change_to_applied_seconds_bucket{le=\"+Inf\"} 2\n",
            "tollgate_config_change_to_applied_seconds_count 2\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}
