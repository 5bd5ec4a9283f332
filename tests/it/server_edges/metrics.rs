//! Metrics: each series is counted once and has the same value in Prometheus and OTLP; the docs list all of them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
};
use retouch::server::telemetry::{
    self,
    otlp::Exporters,
    series::{self, Kind, SECONDS},
};

use super::collector::{self, Collector};

/// Labels as Prometheus writes them.
fn labels(attributes: &[KeyValue]) -> String {
    let pair = |it: &KeyValue| match it.value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(Value::StringValue(value)) => format!("{}=\"{value}\"", it.key),
        other => panic!("{}: {other:?}", it.key),
    };
    let pairs: Vec<String> = attributes.iter().map(pair).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

/// A metric's points as lines of Prometheus; of histograms the count alone.
fn lines(metric: &Metric) -> Vec<String> {
    let name = &metric.name;
    let number = |value: Option<number_data_point::Value>| match value.unwrap() {
        number_data_point::Value::AsDouble(it) => it.to_string(),
        number_data_point::Value::AsInt(it) => it.to_string(),
    };
    match metric.data.as_ref().unwrap() {
        Data::Gauge(it) => (it.data_points.iter())
            .map(|it| format!("{name}{} {}", labels(&it.attributes), number(it.value)))
            .collect(),
        Data::Sum(it) => {
            assert!(it.is_monotonic, "{name}");
            let points = it.data_points.iter();
            points
                .map(|it| format!("{name}{} {}", labels(&it.attributes), number(it.value)))
                .collect()
        }
        Data::Histogram(it) => {
            assert_eq!(it.data_points[0].explicit_bounds, SECONDS, "{name}");
            let points = it.data_points.iter();
            points
                .map(|it| format!("{name}_count{} {}", labels(&it.attributes), it.count))
                .collect()
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_collector_is_sent_what_prometheus_reads() {
    let (collector, endpoint) = Collector::start().await;
    let exporters = Exporters::to(&endpoint).unwrap();
    let (recorder, prometheus) = telemetry::recorder(Some(&exporters)).unwrap();
    metrics::with_local_recorder(&recorder, || {
        for code in ["Ok", "Ok", "NotFound"] {
            metrics::counter!("grpc_server_handled_total", "code" => code, "method" => "RunEdit")
                .increment(1);
        }
        metrics::gauge!("retouch_slots", "state" => "busy").set(1.0);
        metrics::gauge!("retouch_slots", "state" => "busy").set(0.0);
        metrics::gauge!("retouch_streams_open").set(2.0);
        metrics::histogram!("retouch_pass_seconds", "pass" => "edit").record(0.02);
        metrics::histogram!("retouch_pass_seconds", "pass" => "edit").record(700.0);
    });
    collector::end(exporters).await;

    let sent = collector.metrics.lock().unwrap().pop().expect("the last ones are sent at the end");
    let resource = &sent.resource_metrics[0];
    let attributes = labels(&resource.resource.as_ref().unwrap().attributes);
    assert!(attributes.contains("service.name=\"retouch\""), "{attributes}");
    let metrics = resource.scope_metrics.iter().flat_map(|it| &it.metrics);
    let by_name: BTreeMap<&str, &Metric> = metrics.map(|it| (it.name.as_str(), it)).collect();
    let passes = by_name["retouch_pass_seconds"];
    assert_eq!((passes.unit.as_str(), passes.description.as_str()), ("s", "Duration of a pass"));
    let mut told: Vec<String> = by_name.values().copied().flat_map(lines).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "grpc_server_handled_total{code=\"NotFound\",method=\"RunEdit\"} 1",
            "grpc_server_handled_total{code=\"Ok\",method=\"RunEdit\"} 2",
            "retouch_pass_seconds_count{pass=\"edit\"} 2",
            "retouch_slots{state=\"busy\"} 0",
            "retouch_streams_open 2",
        ]
    );
    let text = prometheus.render();
    for line in told {
        assert!(text.lines().any(|it| it == line), "{line} in:\n{text}");
    }
}

#[test]
fn the_docs_list_every_series_with_its_labels() {
    let docs = include_str!("../../../docs/operations.md");
    let table = docs.split("## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|it| it.starts_with("| `")).map(|row| {
        let [_, name, labels, says, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        // What stands after a colon are values.
        let labels =
            labels.split(':').next().unwrap().split(',').map(|it| it.trim().trim_matches('`'));
        let labels: Vec<&str> = labels.filter(|it| !it.is_empty()).collect();
        (name.trim().trim_matches('`'), labels, says.contains("histogram"))
    });
    let declared = series::ALL.map(|it| (it.name, it.labels.to_vec(), it.kind == Kind::Timed));
    assert_eq!(rows.collect::<Vec<_>>(), declared);
}
