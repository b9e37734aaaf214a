//! Runs the examples of `docs/INTEGRATION.md` unchanged, twice each, because they must be safe to repeat.

#![allow(clippy::duplicate_mod)]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::cluster::Cluster;

#[path = "../../docs/examples/checkout.rs"]
#[allow(dead_code)]
mod checkout;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The guide's code blocks in a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let guide = file("docs/INTEGRATION.md");
    let opening = format!("\n```{language}\n");
    let blocks: Vec<_> =
        guide.split(&opening).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect();
    assert!(!blocks.is_empty(), "the guide has no example in {language}");
    blocks
}

fn urls(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| format!("http://127.0.0.1:{}", node.port)).collect()
}

/// Runs a block twice with its interpreter. Returns the output of the second run; `None` without the interpreter.
fn run(interpreter: &[&str], block: &str, url: &str) -> Option<String> {
    let there = Command::new(interpreter[0]).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        println!("skipped: there is no {} here", interpreter[0]);
        return None;
    }
    let mut written = String::new();
    for round in ["first", "second"] {
        let mut command = Command::new(interpreter[0]);
        let output = command.args(&interpreter[1..]).arg(block).env("QUORAPAY_URL", url).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "the {round} run of\n{block}\nwrote {out}\n{err}");
        written = out.into_owned();
    }
    Some(written)
}

#[test]
fn every_shell_example_runs_and_repeats_without_harm() {
    let cluster = Cluster::start(3);
    let url = &urls(&cluster)[1];
    for block in blocks("sh") {
        if run(&["bash", "-euo", "pipefail", "-c"], &block, url).is_none() {
            return;
        }
    }
    // 150.75 charged, 60 captured, 15 of it refunded, each once.
    assert_eq!(posted(&cluster, "shop:42", "USD"), 15_075 + 6_000 - 1_500);
    assert_eq!(posted(&cluster, "seller:2", "EUR"), 7_500);
}

#[test]
fn the_python_and_the_javascript_example_charge_once_and_refund_once() {
    let cluster = Cluster::start(3);
    let url = urls(&cluster).join(",");
    let mut shop = 0;
    for (language, interpreter) in
        [("python", &["python3", "-c"][..]), ("javascript", &["node", "--input-type=module", "-e"][..])]
    {
        let [block] = &blocks(language)[..] else { panic!("one whole example in {language}") };
        if let Some(written) = run(interpreter, block, &url) {
            assert_eq!(written.trim(), "paid 15075 refunded 1000", "{language}");
            shop += 15_075 - 1_000;
        }
        assert_eq!(posted(&cluster, "shop:42", "USD"), shop, "{language}");
    }
}

#[test]
fn the_rust_example_charges_once_and_refunds_once_and_is_the_one_of_the_guide() {
    let example = file("docs/examples/checkout.rs");
    let code = example.find("use std::error").map(|at| example[at..].trim_end()).unwrap();
    assert_eq!(blocks("rust"), [code]);
    let cluster = Cluster::start(3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..2 {
        let said = runtime.block_on(checkout::checkout(&urls(&cluster), "rust-1001")).unwrap();
        assert_eq!(said, "paid 15075, refunded 1000");
    }
    assert_eq!(posted(&cluster, "shop:42", "USD"), 15_075 - 1_000);
}

fn posted(cluster: &Cluster, account: &str, currency: &str) -> i64 {
    let answer = cluster.nodes[0].get(&format!("/v1/accounts/{account}"));
    if answer.status == 404 { 0 } else { crate::support::cluster::posted(&answer.expect(200), currency) }
}
