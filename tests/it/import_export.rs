//! Import and export on the command line against real nodes, also interrupted.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::cluster::{Cluster, posted, program, wait_until};

fn url(cluster: &Cluster) -> String {
    cluster.nodes.iter().map(|node| format!("http://127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",")
}

fn quorapay(cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).args(["--url", &url(cluster)]).output().unwrap()
}

/// Runs an import. Returns its exit code and its summary.
fn import(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = quorapay(cluster, &[&["import", "--json"], arguments].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    (output.status.code(), summary)
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Payments of 1.00, each to a different shop.
fn rows(count: usize) -> String {
    let mut text = "from,to,amount,currency,description\n".to_owned();
    for row in 0..count {
        writeln!(text, "external:card,shop:{},1.00,USD,\"row {row},\nsecond line\"", row % 10).unwrap();
    }
    text
}

fn paid(cluster: &Cluster) -> i64 {
    let accounts = cluster.nodes[0].accounts();
    accounts.iter().filter(|(id, _)| id.starts_with("shop:")).map(|(_, account)| posted(account, "USD")).sum()
}

#[test]
fn an_import_that_is_killed_continues_where_it_was_and_pays_every_row_once() {
    let cluster = Cluster::start(3);
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "payments.csv", &rows(3_000));
    let (name, resume) = (file.to_str().unwrap(), directory.path().join("payments.csv.resume"));
    let begun = |path: &Path| -> u64 {
        let text = std::fs::read(path).unwrap_or_default();
        serde_json::from_slice::<Value>(&text).map_or(0, |progress| progress["rows"].as_u64().unwrap())
    };
    let mut command = Command::new(program());
    command.args(["import", name, "--batch", "20", "--url", &url(&cluster)]);
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("some batches are sent", || begun(&resume) >= 100);
    first.kill().unwrap();
    first.wait().unwrap();
    let reached = begun(&resume);
    assert!((100..3_000).contains(&reached), "{reached} rows were sent before the kill");

    let (code, summary) = import(&cluster, &[name, "--batch", "500"]);
    assert_eq!((code, &summary["succeeded"], &summary["refused"]), (Some(0), &3_000.into(), &0.into()), "{summary}");
    assert!(!resume.exists(), "the import is done");
    assert_eq!(paid(&cluster), 300_000);

    let (code, again) = import(&cluster, &[name]);
    assert_eq!((code, &again["replayed"]), (Some(0), &3_000.into()), "{again}");
    assert_eq!(paid(&cluster), 300_000, "the same file again pays nothing");
}

#[test]
fn an_import_of_a_file_that_changed_since_the_interruption_is_refused() {
    let cluster = Cluster::start(1);
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "payments.csv", &rows(10));
    let progress = r#"{"digest":"another","offset":0,"lines":0,"rows":0,
        "counts":{"succeeded":0,"replayed":0,"refused":0},"report_bytes":0}"#;
    write(directory.path(), "payments.csv.resume", progress);
    let output = quorapay(&cluster, &["import", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was changed"));
    assert_eq!(paid(&cluster), 0);
}

#[test]
fn a_dry_run_finds_every_bad_row_and_sends_nothing_and_the_report_names_each() {
    let cluster = Cluster::start(1);
    let directory = tempfile::tempdir().unwrap();
    let text = "from,to,amount,currency,idempotency_key\n\
                external:card,shop:1,5.00,USD,a\n\
                external:card,shop:1,5.001,USD,b\n\
                \n\
                external:card,shop:1,5.00,US$,c\n\
                nobody,shop:1,5.00,USD,d\n";
    let file = write(directory.path(), "payments.csv", text);
    let report = directory.path().join("refused.csv");
    let (name, report_name) = (file.to_str().unwrap(), report.to_str().unwrap());
    for arguments in [&[name, "--dry-run"][..], &[name]] {
        let (code, summary) = import(&cluster, arguments);
        assert_eq!((code, &summary["invalid"], &summary["sent"]), (Some(1), &2.into(), &false.into()), "{summary}");
        let lines: Vec<_> = summary["refused_rows"].as_array().unwrap().iter().map(|row| row["line"].clone()).collect();
        assert_eq!(lines, [3, 5]);
    }
    assert_eq!(paid(&cluster), 0);

    let (code, summary) = import(&cluster, &[name, "--skip-invalid", "--report", report_name]);
    assert_eq!((code, &summary["succeeded"], &summary["refused"]), (Some(1), &1.into(), &1.into()), "{summary}");
    assert_eq!(paid(&cluster), 500);
    let report = std::fs::read_to_string(report).unwrap();
    let codes: Vec<_> =
        report.lines().skip(1).map(|line| line.split(',').take(4).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(codes, ["3 2  invalid_amount", "5 3  invalid_currency", "6 4 d account_not_found"]);
}

#[test]
fn ndjson_rows_with_keys_are_paid_once_across_files() {
    let cluster = Cluster::start(1);
    let directory = tempfile::tempdir().unwrap();
    let line = |key: &str, to: &str| {
        format!(r#"{{"from":"external:card","to":"{to}","amount":700,"currency":"USD","idempotency_key":"{key}"}}"#)
    };
    let one = write(directory.path(), "one.ndjson", &[line("k1", "shop:1"), line("k2", "shop:2")].join("\n"));
    let other = [line("k2", "shop:2"), line("k3", "shop:3"), line("k3", "shop:3")].join("\n");
    let other = write(directory.path(), "other.jsonl", &other);
    assert_eq!(import(&cluster, &[one.to_str().unwrap()]).0, Some(0));
    let (code, summary) = import(&cluster, &[other.to_str().unwrap()]);
    assert_eq!((code, &summary["succeeded"], &summary["replayed"]), (Some(0), &3.into(), &2.into()), "{summary}");
    assert_eq!(paid(&cluster), 2_100);
}

#[test]
fn an_export_is_whole_or_says_that_it_is_not() {
    let mut cluster = Cluster::start(1);
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "payments.csv", &rows(200));
    assert_eq!(import(&cluster, &[file.to_str().unwrap()]).0, Some(0));
    let target = directory.path().join("shop.csv");
    let name = target.to_str().unwrap();
    let output = quorapay(&cluster, &["export", "statement", "shop:3", "--output", name]);
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(&target).unwrap();
    assert_eq!(text.lines().count(), 1 + 20 + 1);
    assert!(text.lines().last().unwrap().starts_with("complete,20,"));

    let ledger = quorapay(&cluster, &["export", "ledger", "--format", "ndjson"]);
    let last: Value = serde_json::from_str(String::from_utf8_lossy(&ledger.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(last["complete"], true);

    let missing = quorapay(&cluster, &["export", "statement", "nobody", "--output", name]);
    assert_eq!(missing.status.code(), Some(1));
    cluster.kill(0);
    let unreachable = quorapay(&cluster, &["export", "ledger", "--output", name, "--deadline-ms", "500"]);
    assert_eq!(unreachable.status.code(), Some(4));
    assert_eq!(std::fs::read_to_string(&target).unwrap(), text, "what was whole stays");
}
