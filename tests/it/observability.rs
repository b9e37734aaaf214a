//! What operators look at: the alert rules and the dashboard in `runbooks/observability` ask for metrics that nodes show,
//! and name parts of runbooks that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::cluster::Sealed;
use crate::tls::sealed;

/// What Prometheus itself says of each target.
const OF_PROMETHEUS: &str = "up";
/// What is appended to the name of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// A file of the repository.
pub(crate) fn repository_file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The words of an expression that are names of the nodes' metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| ["quorapay_", "process_"].iter().any(|prefix| word.starts_with(prefix))).collect()
}

/// An alert rule.
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) expression: String,
}

/// The alert rules. An expression stands at `expr:`, on the same line or on the lines below it.
pub(crate) fn alerts() -> Vec<Alert> {
    let rules = repository_file("runbooks/observability/alerts.yml");
    let (mut alerts, mut name) = (Vec::new(), String::new());
    let mut lines = rules.lines().peekable();
    while let Some(line) = lines.next() {
        let content = line.trim_start();
        if let Some(given) = content.strip_prefix("- alert: ") {
            given.clone_into(&mut name);
        }
        let Some(first) = content.strip_prefix("expr:") else { continue };
        let depth = line.len() - content.len();
        let mut expression = first.trim_start_matches([' ', '|']).to_owned();
        while let Some(more) = lines.next_if(|next| next.len() - next.trim_start().len() > depth) {
            expression.push(' ');
            expression.push_str(more.trim_start());
        }
        alerts.push(Alert { name: name.clone(), expression });
    }
    alerts
}

/// The expressions of the dashboard's panels.
pub(crate) fn panel_expressions(dashboard: &serde_json::Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_metric_that_an_alert_or_the_dashboard_asks_for_is_shown_by_a_node() {
    // Some are shown only by nodes with certificates.
    let (mut cluster, _) = sealed(3, Sealed::Peers);
    (0..3).for_each(|node| cluster.restart(node));
    cluster.wait_ready();
    cluster.nodes[0].pay("observed", "external:card", "shop:1", 100).expect(201);
    let texts: Vec<String> = cluster.nodes.iter().map(|node| node.get("/metrics?format=prometheus").text()).collect();
    let shown: BTreeSet<&str> = texts.iter().flat_map(|text| metrics_in(text)).collect();
    let dashboard =
        serde_json::from_str(&repository_file("runbooks/observability/grafana/dashboards/quorapay.json")).unwrap();
    let alerts: Vec<String> = alerts().into_iter().map(|alert| alert.expression).collect();
    let panels = panel_expressions(&dashboard);
    assert!(alerts.len() >= 14 && panels.len() >= 16, "{} alerts, {} panels", alerts.len(), panels.len());
    for expression in alerts.iter().chain(&panels) {
        let asked = metrics_in(expression);
        assert!(!asked.is_empty() || expression.contains(OF_PROMETHEUS), "{expression} asks for nothing");
        for name in asked {
            let whole = PARTS.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            assert!(shown.contains(name) || shown.contains(whole), "no node shows {name}, asked for in {expression}");
        }
    }
}

#[test]
fn every_alert_names_a_part_of_a_runbook_that_exists() {
    let rules = repository_file("runbooks/observability/alerts.yml");
    let alerts = rules.lines().filter(|line| line.trim_start().starts_with("- alert:")).count();
    let named: Vec<&str> = rules.lines().filter_map(|line| line.trim_start().strip_prefix("runbook: ")).collect();
    assert_eq!(named.len(), alerts, "each alert names one");
    for name in named {
        let (document, part) = name.split_once('#').expect("a document and a part");
        let headings = repository_file(document);
        let anchors = headings.lines().filter_map(|line| line.strip_prefix("## "));
        let mut anchors = anchors.map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
        });
        assert!(anchors.any(|anchor| anchor == part), "{document} has no part {part}");
    }
}
