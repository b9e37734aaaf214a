//! Sealed ports: who gets in, and certificates that change while payments go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::cluster::{Cluster, Node, Options, Sealed, program, run_program, wait_until};
use crate::support::http::{Connection, Request};

/// What a node says of each set of files that it takes.
const TAKEN: &str = "new certificates are in use";

/// An authority in a folder of its own.
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: PathBuf) -> Self {
        run(&["certs", "init", "--folder", text(&folder)]);
        Self { folder }
    }

    /// The file with its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Signs a certificate for a node of this cluster, in a folder.
    pub(crate) fn sign_node(&self, node: &str, cluster: &str, to: &Path) {
        let host = ["--host", "127.0.0.1"];
        let folder = ["--folder", text(&self.folder), "--to", text(to)];
        run(&[&["certs", "node", node, "--cluster-id", cluster], &host[..], &folder].concat());
    }

    /// Signs a certificate for a client, in a folder of its own.
    fn sign_client(&self, name: &str) -> PathBuf {
        run(&["certs", "client", name, "--folder", text(&self.folder)]);
        self.folder.join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn run(arguments: &[&str]) {
    let output = run_program(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a file as a whole, as those do who replace certificates.
fn replace(file: &Path, content: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, file).unwrap();
}

/// A client program that trusts an authority and shows a certificate.
struct Caller {
    authority: PathBuf,
    own: Option<PathBuf>,
}

impl Caller {
    fn command(&self, command: &str, urls: &str) -> Command {
        let mut line = Command::new(program());
        line.args([command, "--url", urls, "--ca", text(&self.authority)]).stdin(Stdio::null());
        if let Some(own) = &self.own {
            line.arg("--client-certificate").arg(own.join("certificate.pem"));
            line.arg("--client-key").arg(own.join("key.pem"));
        }
        line
    }

    fn ready(&self, node: &Node, deadline_ms: u32) -> Output {
        let deadline_ms = deadline_ms.to_string();
        self.command("ready", &url(node)).args(["--deadline-ms", &deadline_ms]).output().unwrap()
    }

    /// Pays a fixed number of times over kept-alive connections, without a second attempt, while `meanwhile` runs. Returns
    /// the results.
    fn bench(&self, cluster: &Cluster, seconds: u32, meanwhile: impl FnOnce()) -> Value {
        let urls: Vec<String> = cluster.nodes.iter().map(url).collect();
        let mut command = self.command("bench", &urls.join(","));
        command.args(["--json", "--warm-up", "0s", "--rate", "100", "--duration", &format!("{seconds}s")]);
        let bench = command.stdout(Stdio::piped()).spawn().unwrap();
        meanwhile();
        let output = bench.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["results"].clone()
    }
}

fn url(node: &Node) -> String {
    format!("https://127.0.0.1:{}", node.port)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Gives a node the authorities to trust.
fn trust(node: &Node, authorities: &[&Authority]) {
    let pem = authorities.iter().flat_map(|authority| fs::read(authority.file()).unwrap());
    replace(&node.certificates().join("ca.pem"), &pem.collect::<Vec<u8>>());
}

/// Prepares sealed nodes with certificates of one authority.
pub(crate) fn sealed(size: usize, sealed: Sealed) -> (Cluster, Authority) {
    let cluster = Cluster::prepare(size, &Options { sealed, ..Options::default() });
    let folder = cluster.nodes[0].config.with_file_name("authority");
    let authority = Authority::new(folder);
    for node in &cluster.nodes {
        authority.sign_node(&node.id, &cluster.id, &node.certificates());
        trust(node, &[&authority]);
    }
    (cluster, authority)
}

#[track_caller]
fn wait_taken(node: &Node, times: usize) {
    wait_until("the node takes its new files", || node.log().matches(TAKEN).count() >= times);
}

#[test]
fn sealed_ports_serve_holders_of_certificates_and_tell_others_why_not() {
    let (mut cluster, authority) = sealed(1, Sealed::Both);
    let caller = Caller { authority: authority.file(), own: Some(authority.sign_client("shop")) };
    cluster.restart(0);
    let node = &cluster.nodes[0];
    let ready = caller.ready(node, 30_000);
    assert!(ready.status.success(), "{}\n{}", said(&ready), node.log());
    let paid = caller.command("pay", &url(node)).args(["external:bank", "shop", "1", "EUR"]).output().unwrap();
    assert!(said(&paid).contains("succeeded"), "{}", said(&paid));

    // It asks for a look at the files, and ends nothing.
    kill(Pid::from_raw(node.pid().try_into().unwrap()), Signal::SIGHUP).unwrap();
    assert!(caller.ready(node, 5_000).status.success(), "{}", node.log());

    for port in [node.port, node.peer_port] {
        let plain = Connection::to(port).send(&Request::get("/readyz")).unwrap();
        assert_eq!(plain.status, 400);
        assert!(plain.text().contains("https://"), "{}", plain.text());
    }
    let other = Authority::new(cluster.nodes[0].config.with_file_name("other"));
    let stranger = Caller { authority: authority.file(), own: Some(other.sign_client("shop")) };
    let nobody = Caller { authority: authority.file(), own: None };
    for refused in [stranger.ready(node, 500), nobody.ready(node, 500)] {
        assert!(!refused.status.success(), "{}", said(&refused));
    }
    let suspicious = Caller { authority: other.file(), own: Some(authority.sign_client("suspicious")) };
    let refused = said(&suspicious.ready(node, 500));
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    assert!(node.log().contains("a connection is refused"), "{}", node.log());
}

#[test]
fn a_node_with_the_certificate_of_another_one_does_not_start() {
    let (mut cluster, authority) = sealed(1, Sealed::Peers);
    let folder = cluster.nodes[0].certificates();
    fs::remove_dir_all(&folder).unwrap();
    authority.sign_node("node1", "another-cluster", &folder);
    trust(&cluster.nodes[0], &[&authority]);
    cluster.restart(0);
    assert_eq!(cluster.nodes[0].wait_for_end().code(), Some(1));
    let log = cluster.nodes[0].log();
    assert!(log.contains("it is not this node's") && log.contains("node1.another-cluster.quorapay"), "{log}");
}

#[test]
fn certificates_and_authorities_change_node_by_node_and_no_request_fails() {
    let (mut cluster, old) = sealed(3, Sealed::Both);
    (0..3).for_each(|node| cluster.restart(node));
    let old_caller = Caller { authority: old.file(), own: Some(old.sign_client("shop")) };
    for node in &cluster.nodes {
        let ready = old_caller.ready(node, 30_000);
        assert!(ready.status.success(), "{}\n{}", said(&ready), cluster.logs());
    }
    let new = Authority::new(cluster.nodes[0].config.with_file_name("new-authority"));
    let with_old = old_caller.bench(&cluster, 16, || {
        for node in &cluster.nodes {
            trust(node, &[&old, &new]);
            wait_taken(node, 1);
        }
        for node in &cluster.nodes {
            let fresh = node.certificates().join("fresh");
            new.sign_node(&node.id, &cluster.id, &fresh);
            // Between the two, the files do not fit: the ones from before stay in use.
            for file in ["key.pem", "certificate.pem"] {
                replace(&node.certificates().join(file), &fs::read(fresh.join(file)).unwrap());
            }
            wait_taken(node, 2);
        }
    });
    let both = cluster.nodes[0].config.with_file_name("both.pem");
    fs::write(&both, [fs::read(old.file()).unwrap(), fs::read(new.file()).unwrap()].concat()).unwrap();
    let new_caller = Caller { authority: both, own: Some(new.sign_client("shop")) };
    let with_new = new_caller.bench(&cluster, 10, || {
        for node in &cluster.nodes {
            trust(node, &[&new]);
            wait_taken(node, 3);
        }
    });
    for results in [with_old, with_new] {
        assert!(results["ok"].as_u64().unwrap() > 0, "{results}");
        assert_eq!([&results["errors"], &results["unknown"], &results["refused"]], [0, 0, 0], "{results}");
    }
    assert!(!old_caller.ready(&cluster.nodes[0], 500).status.success(), "the old authority opens nothing");
    // Connections between nodes are made anew, with what is new alone.
    for node in 0..3 {
        cluster.terminate(node);
        cluster.restart(node);
        let ready = new_caller.ready(&cluster.nodes[node], 30_000);
        assert!(ready.status.success(), "{}\n{}", said(&ready), cluster.logs());
    }
}
