//! What Prometheus scrapes: one collector over the snapshot that the page shows, so that the two never disagree and
//! the series of a program vanish with it. It keeps nothing between two scrapes and never asks anybody anything.

mod collector;

use prometheus::{Encoder, Registry, TextEncoder};

use crate::controller::handle::Histograms;
use crate::controller::snapshot::Snapshot;
use collector::SnapshotCollector;

/// The media type of what [`render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why metrics could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A family of ours breaks the rules of the format.
    #[error("the metrics could not be collected")]
    Collect(#[source] prometheus::Error),
    /// The text could not be written.
    #[error("the metrics could not be written as text")]
    Encode(#[source] prometheus::Error),
    /// The text is not UTF-8.
    #[error("the metrics are not valid UTF-8")]
    Text(#[source] std::string::FromUtf8Error),
}

/// Everything in the text format 0.0.4 of Prometheus.
///
/// # Errors
/// Only where a metric of ours breaks the format's rules.
pub fn render(snapshot: &Snapshot, histograms: &Histograms) -> Result<String, RenderError> {
    let collector = SnapshotCollector::new(snapshot, histograms).map_err(RenderError::Collect)?;
    let registry = Registry::new();
    registry.register(Box::new(collector)).map_err(RenderError::Collect)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).map_err(RenderError::Encode)?;
    String::from_utf8(text).map_err(RenderError::Text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::controller::snapshot::QueueView;
    use crate::http::fixture;

    const SAMPLES: &str = r#"
leveret_broker_up{broker="default"} 1
leveret_budget_limit{budget="processes"} 64
leveret_budget_used{budget="processes"} 5
leveret_build_info{version="0.1.0"} 1
leveret_config_error 0
leveret_controller_restarts_total 0
leveret_log_dropped_bytes_total{program="orders"} 0
leveret_probe_duration_seconds_bucket{broker="default",le="0.01"} 1
leveret_probe_duration_seconds_bucket{broker="default",le="0.1"} 1
leveret_probe_duration_seconds_bucket{broker="default",le="+Inf"} 2
leveret_probe_duration_seconds_sum{broker="default"} 0.505
leveret_probe_duration_seconds_count{broker="default"} 2
leveret_process_cpu_seconds_total{program="orders",process="orders:0"} 1.25
leveret_process_resident_memory_bytes{program="orders",process="orders:0"} 18874368
leveret_process_restarts_total{program="orders",reason="crash"} 2
leveret_process_start_time_seconds{program="orders",process="orders:0"} 1700000000.5
leveret_process_uptime_seconds{program="orders",process="orders:0"} 9.1
leveret_processes{program="orders",state="backoff"} 0
leveret_processes{program="orders",state="exited"} 0
leveret_processes{program="orders",state="failed"} 0
leveret_processes{program="orders",state="running"} 1
leveret_processes{program="orders",state="starting"} 0
leveret_processes{program="orders",state="stopped"} 0
leveret_processes{program="orders",state="stopping"} 0
leveret_processes_desired{program="orders"} 4
leveret_queue_consumers{program="orders",broker="default",queue="orders"} 1
leveret_queue_messages_ready{program="orders",broker="default",queue="orders"} 120
leveret_queue_messages_unacknowledged{program="orders",broker="default",queue="orders"} 4
leveret_queue_sample_age_seconds{program="orders",broker="default",queue="orders"} 0.4
leveret_queue_starved{program="orders",broker="default",queue="orders"} 0
leveret_queue_wait_goal_seconds{program="orders",broker="default",queue="orders"} 5
leveret_queue_wait_predicted_seconds{program="orders",broker="default",queue="orders"} 6.5
leveret_ready 1
leveret_scaling_decisions_total{program="orders",direction="down"} 1
leveret_scaling_decisions_total{program="orders",direction="up"} 3
leveret_scaling_processes_wanted{program="orders"} 6
leveret_scaling_wait_goal_seconds{program="orders"} 5
leveret_scaling_wait_predicted_seconds{program="orders"} 6.5
leveret_stop_duration_seconds_bucket{program="orders",le="1"} 1
leveret_stop_duration_seconds_bucket{program="orders",le="10"} 2
leveret_stop_duration_seconds_bucket{program="orders",le="+Inf"} 2
leveret_stop_duration_seconds_sum{program="orders"} 2.5
leveret_stop_duration_seconds_count{program="orders"} 2
"#;

    #[test]
    fn the_fixture_renders_to_exactly_this() {
        let text = render(&fixture::small_snapshot(), &fixture::histograms()).unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, SAMPLES.trim().lines().collect::<Vec<_>>());
    }

    #[test]
    fn every_family_says_what_it_is_and_in_which_unit() {
        let text = render(&fixture::snapshot(), &fixture::histograms()).unwrap();
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            let mut words = line.split(' ').skip(2);
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let help = text.lines().find(|help| help.starts_with(&format!("# HELP {name} "))).unwrap();
            for unit in ["seconds", "bytes"] {
                if name.contains(unit) {
                    assert!(help.contains(unit), "the help of {name} does not name its unit: {help}");
                }
            }
        }
    }

    #[test]
    fn the_series_of_a_program_vanish_with_it() {
        let mut snapshot = fixture::snapshot();
        let histograms = Histograms::default();
        assert!(render(&snapshot, &histograms).unwrap().contains("program=\"orders\""));
        snapshot.programs.retain(|program| program.name != "orders");
        assert!(!render(&snapshot, &histograms).unwrap().contains("program=\"orders\""));
    }

    #[test]
    fn a_queue_that_was_never_read_has_no_depth_rather_than_a_depth_of_zero() {
        let mut snapshot = fixture::small_snapshot();
        let queue = &mut snapshot.programs[0].queues[0];
        *queue = QueueView { queue: "orders".to_owned(), ..QueueView::default() };
        let text = render(&snapshot, &Histograms::default()).unwrap();
        assert!(!text.contains("leveret_queue_"), "{text}");
    }

    #[test]
    fn a_queue_name_with_quotes_and_line_breaks_stays_within_its_label() {
        let mut snapshot = fixture::small_snapshot();
        snapshot.programs[0].queues[0].queue = "a\"b\\c\nd".to_owned();
        let text = render(&snapshot, &Histograms::default()).unwrap();
        assert!(text.contains(r#"queue="a\"b\\c\nd""#), "{text}");
    }

    #[test]
    fn nothing_at_all_renders_without_an_error() {
        let text = render(&Snapshot::default(), &Histograms::default()).unwrap();
        assert!(text.contains("leveret_build_info"));
    }

    #[test]
    fn every_query_of_the_dashboard_names_metrics_that_exist() {
        let exported = exported_names();
        let queries = dashboard_queries();
        assert!(queries.len() >= 6, "the dashboard has too few queries: {queries:?}");
        for query in queries {
            let names = metric_names(&query);
            assert!(!names.is_empty(), "{query} names no metric of Leveret");
            for name in names {
                assert!(exported.contains(&name), "{query} names {name}, which /metrics does not have");
            }
        }
    }

    fn exported_names() -> BTreeSet<String> {
        let text = render(&fixture::snapshot(), &fixture::histograms()).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
            .collect()
    }

    fn dashboard_queries() -> Vec<String> {
        let text = include_str!("../../dashboards/leveret.json");
        let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
        let variables = variables.filter_map(|variable| variable["query"]["query"].as_str());
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().flat_map(|panel| {
            let targets = panel["targets"].as_array();
            targets.unwrap_or_else(|| panic!("{} has no queries", panel["title"]))
        });
        let expressions = targets.map(|target| target["expr"].as_str().unwrap());
        variables.chain(expressions).map(str::to_owned).collect()
    }

    fn metric_names(query: &str) -> Vec<String> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = query.split(|c| !word(c));
        words.filter(|name| name.starts_with("leveret_")).map(str::to_owned).collect()
    }
}
