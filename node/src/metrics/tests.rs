//! Tests of the counters: the series, the sums, and the ends of pulls.

use std::collections::BTreeSet;

use reg_api::fault::FaultKind;

use super::*;

/// The series of an answer, without their values.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    lines.filter_map(|it| Some(it.rsplit_once(' ')?.0.to_owned())).collect()
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|it| it.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn the_series_are_the_same_however_much_a_node_holds_and_meets() {
    let metrics = Metrics::default();
    let empty = series(&metrics.write(Format::Text, &Readings::default()));
    for n in 0..5000_u64 {
        Source::ALL.iter().for_each(|it| metrics.piece_verified(*it, n));
        Place::ALL.iter().for_each(|it| metrics.sent(*it, n, n % 2 == 0));
        Unwanted::ALL.iter().for_each(|it| metrics.piece_rejected(*it));
        metrics.request_refused(&Rejection::Busy { retry_ms: n as u32 });
        metrics.pull_begins().ends(PullEnd::Failed(FaultKind::ALL[n as usize % FaultKind::ALL.len()]));
        metrics.answered(Dialect::HuggingFace, 200, Duration::from_millis(n));
    }
    let way = |n: usize| PeerWay {
        is_near: n.is_multiple_of(2),
        transport: [Transport::Tcp, Transport::Quic, Transport::Relay][n % 3],
    };
    let readings = Readings {
        peers: (0..50).map(way).collect(),
        models: ReplicaStates { endangered: 5000, scarce: 1, enough: 2, uncounted: 3 },
        ..Readings::default()
    };
    let text = metrics.write(Format::Text, &readings);
    assert_eq!(series(&text), empty);
    assert_eq!(value(&text, "reg_peers{near=\"true\",transport=\"relay\"}"), Some(8.0));
    assert_eq!(value(&text, "reg_models{replica_state=\"endangered\"}"), Some(5000.0));
    assert_eq!(value(&text, "reg_pulls_started_total"), Some(5000.0));
    assert!(empty.len() < 300, "{}", empty.len());
}

#[test]
fn statuses_of_an_endpoint_make_few_series() {
    let metrics = Metrics::default();
    (100..1000).for_each(|status| metrics.answered(Dialect::HuggingFace, status, Duration::ZERO));
    let text = metrics.write(Format::Text, &Readings::default());
    let codes =
        series(&text).iter().filter(|it| it.starts_with("reg_http_requests_total{dialect=\"hf\"")).count();
    assert_eq!(codes, 34);
}

#[test]
fn a_pull_that_is_dropped_counts_as_cancelled() {
    let metrics = Metrics::default();
    drop(metrics.pull_begins());
    metrics.pull_begins().ends(PullEnd::Done);
    metrics.pull_begins().ends(PullEnd::Failed(FaultKind::NotFound));
    let text = metrics.write(Format::Text, &Readings::default());
    let ended = |outcome: &str| value(&text, &format!("reg_pulls_finished_total{{outcome=\"{outcome}\"}}"));
    assert_eq!(["cancelled", "done", "not_found", "internal"].map(ended), [1.0, 1.0, 1.0, 0.0].map(Some));
    assert_eq!(value(&text, "reg_pull_seconds_count"), Some(1.0), "only pulls that are done took a time");
}

#[test]
fn sums_are_of_the_counters_that_a_scrape_shows() {
    let metrics = Metrics::default();
    for (n, source) in (1..).zip(Source::ALL) {
        metrics.pieces_verified(source, n, 10 * n);
    }
    metrics.sent(Place::Near, 5, true);
    metrics.sent(Place::Far, 7, false);
    metrics.audited(Answer::Passed, 3);
    assert_eq!(metrics.received(&Source::SWARM), 10 + 20 + 30);
    assert_eq!((metrics.all_sent(), metrics.all_sent_first(), metrics.audited_bytes()), (12, 5, 3));
    let text = metrics.write(Format::OpenMetrics, &Readings::default());
    assert!(text.ends_with("# EOF\n"));
    for (series, expected) in [
        ("reg_pieces_verified_total{source=\"reuse\"}", Some(4.0)),
        ("reg_received_bytes_total{source=\"upstream\"}", Some(50.0)),
        ("reg_received_bytes_total{source=\"reuse\"}", None),
        ("reg_sent_bytes_total{reach=\"far\"}", Some(7.0)),
        ("reg_sent_first_bytes_total", Some(5.0)),
        ("reg_audits_total{outcome=\"passed\"}", Some(1.0)),
        ("reg_store_quota_bytes", Some(f64::INFINITY)),
    ] {
        assert_eq!(value(&text, series), expected, "{series}\n{text}");
    }
}
