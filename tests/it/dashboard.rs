//! The dashboard and the alert rules in a real Prometheus that scrapes a cluster while its nodes are killed and paused:
//! every panel shows data, no alert is raised in good times, and those that a fault should raise are. `make dashboard-check`
//! runs it, with Debian's Prometheus.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::observability::{Alert, alerts, panel_expressions, repository_file};
use crate::support::cluster::{Cluster, Node, Options, wait_until};
use crate::support::http::{Connection, Request};
use crate::support::payers::Payers;
use crate::support::ports::listening_port;
use crate::support::reaper::reaper;
use crate::support::zookeeper::ZooKeeperServer;

/// A Prometheus with its own folder. Killed when dropped.
struct Prometheus {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one with the configuration and the rules of the repository, but with these targets and every second.
    fn watch(cluster: &Cluster) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), listening_port());
        let observability = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/observability");
        let mut config = repository_file("runbooks/observability/prometheus.yml")
            .replace("scrape_interval: 5s", "scrape_interval: 1s")
            .replace("scrape_timeout: 4s", "scrape_timeout: 900ms")
            .replace("evaluation_interval: 5s", "evaluation_interval: 1s")
            .replace("/etc/prometheus", observability.to_str().unwrap());
        for node in &cluster.nodes {
            let (given, own) = (format!("\"{}:7101\"", node.id), format!("\"127.0.0.1:{}\"", node.port));
            assert!(config.contains(&given), "{given} is a target");
            config = config.replace(&given, &own);
        }
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let program = std::env::var_os("PROMETHEUS").map_or_else(|| PathBuf::from("prometheus"), PathBuf::from);
        let process = Command::new(&program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        reaper().watch(process.id());
        let prometheus = Self { process, port, _folder: folder };
        wait_until("Prometheus is ready", || {
            Connection::to(port).send(&Request::get("/-/ready")).is_ok_and(|answer| answer.status == 200)
        });
        prometheus
    }

    fn get(&self, target: &str) -> Value {
        Connection::to(self.port).send(&Request::get(target)).unwrap().expect(200)
    }

    /// The values of an expression. A value that is no number, such as a quantile of nothing, is left out.
    fn values(&self, expression: &str) -> Vec<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"));
        let series = answer["data"]["result"].as_array().unwrap();
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse::<f64>().unwrap();
        series.iter().map(value).filter(|value| value.is_finite()).collect()
    }

    fn has_data(&self, expression: &str) -> bool {
        !self.values(expression).is_empty()
    }

    /// Waits until each of these has data, and names those that have none.
    fn wait_for_data(&self, when: &str, expressions: &[String]) {
        wait_until(when, || {
            let missing: Vec<&String> = expressions.iter().filter(|expression| !self.has_data(expression)).collect();
            println!("{when}: {} of {} have data {missing:?}", expressions.len() - missing.len(), expressions.len());
            missing.is_empty()
        });
    }

    /// Waits until the condition of each of these alerts holds.
    fn wait_for_alerts(&self, when: &str, all: &[Alert], names: &[&str]) {
        self.wait_for_data(when, &conditions(all, names));
    }

    /// Waits until none of these conditions holds.
    fn wait_for_calm(&self, when: &str, all: &[Alert], names: &[&str]) {
        let conditions = conditions(all, names);
        wait_until(when, || !conditions.iter().any(|condition| self.has_data(condition)));
    }
}

/// The conditions of some alerts.
fn conditions(all: &[Alert], names: &[&str]) -> Vec<String> {
    let named = |name: &&str| all.iter().find(|alert| alert.name == *name).unwrap_or_else(|| panic!("no {name}"));
    names.iter().map(|name| named(name).expression.clone()).collect()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        reaper().forget(self.process.id());
    }
}

/// What an alert compares: its expression up to the comparison. Every alert ends with one, but for absences.
fn compared(expression: &str) -> &str {
    let condition = expression.split(" or absent").next().unwrap();
    let end = [" == ", " != ", " > ", " < "].iter().filter_map(|comparison| condition.rfind(comparison)).max();
    &condition[..end.unwrap_or_else(|| panic!("{expression} compares nothing"))]
}

fn refuse_something(node: &Node) {
    node.send(&Request::post("/v1/payments").key("refused").json("{}")).expect(400);
}

#[test]
#[ignore = "takes a minute and needs Prometheus; run by make dashboard-check"]
fn every_panel_has_data_and_every_alert_is_raised_by_its_fault_alone() {
    let mut zookeeper = ZooKeeperServer::start();
    let options = Options { zookeeper: Some(zookeeper.address()), ..Options::default() };
    let mut cluster = Cluster::start_with(3, &options);
    let prometheus = Prometheus::watch(&cluster);
    let dashboard = serde_json::from_str(&repository_file("runbooks/observability/grafana/dashboards/quorapay.json"));
    let (panels, alerts) = (panel_expressions(&dashboard.unwrap()), alerts());
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    refuse_something(&cluster.nodes[0]);

    prometheus.wait_for_data("in good times every panel shows something", &panels);
    let failing = "QuorapayFailingRequests";
    let operands = alerts.iter().filter(|alert| alert.name != failing).map(|alert| compared(&alert.expression));
    prometheus.wait_for_data("what alerts compare is there", &operands.map(str::to_owned).collect::<Vec<_>>());
    let raised: Vec<&str> =
        alerts.iter().filter(|alert| prometheus.has_data(&alert.expression)).map(|alert| &*alert.name).collect();
    assert!(raised.is_empty(), "raised in good times: {raised:?}");

    let dead = cluster.followers()[0];
    cluster.kill(dead);
    let lost = ["QuorapayNodeDown", "QuorapayFollowerUnreachable"];
    prometheus.wait_for_alerts("a dead follower is told", &alerts, &lost);
    prometheus.wait_for_data("with a dead follower every panel shows something", &panels);
    cluster.restart(dead);
    prometheus.wait_for_calm("a follower that is back is told no more", &alerts, &lost);
    let paused = cluster.leader();
    cluster.pause(paused);
    payers.wait_for_more(100);
    prometheus.wait_for_alerts("a paused leader is told", &alerts, &lost);
    let elections = "sum(increase(quorapay_elections_won_total{reason=\"leader_silent\"}[1m]))";
    wait_until("the election and its reason are shown", || prometheus.values(elections).iter().any(|won| *won > 0.0));
    prometheus.wait_for_data("with a paused node every panel shows something", &panels);
    cluster.resume(paused);
    cluster.wait_ready();
    payers.stop();

    zookeeper.stop();
    prometheus.wait_for_alerts("a lost ZooKeeper is told", &alerts, &["QuorapayZooKeeperLost"]);
    zookeeper.restart();
    let leader = cluster.leader();
    for follower in cluster.followers() {
        cluster.kill(follower);
    }
    wait_until("requests that fail are told", || {
        for number in 0..50 {
            let body = r#"{"from": "external:card", "to": "shop", "amount": 5, "currency": "EUR"}"#;
            let request = Request::post("/v1/payments").key(&format!("failing-{number}")).json(body);
            // Its answer is an error, which is what counts.
            let _ = cluster.nodes[leader].try_send(&request.header("Quorapay-Deadline-Ms", "1"));
        }
        alerts.iter().any(|alert| alert.name == failing && prometheus.has_data(&alert.expression))
    });
    prometheus.wait_for_alerts("a cluster without a leader is told", &alerts, &["QuorapayNoLeader"]);
    let rules = prometheus.get("/api/v1/rules");
    for rule in rules["data"]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert_eq!((&rule["health"], &rule["lastError"]), (&"ok".into(), &Value::Null), "{rule}");
    }
}
