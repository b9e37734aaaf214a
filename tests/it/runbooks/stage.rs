//! What a runbook is played on: a cluster, its ZooKeeper servers, and the means to bring about what the runbook is for.
//!
//! The shell gets the commands that `runbooks/README.md` has an operator define for a deployment, here for this cluster.

use std::any::Any;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::play;
use crate::support::cluster::{Cluster, Options};
use crate::support::payers::Payers;
use crate::support::zookeeper::ZooKeeperServer;

/// Brings about what a part of a runbook is for. Returns commands for the shell, such as the assignment of a variable.
pub(super) type Scene = fn(&mut Stage) -> String;

/// See the module.
pub(super) struct Stage {
    /// Clients that pay meanwhile.
    pub(super) payers: Option<Payers>,
    /// What has to stay until the runbook is played. Dropped before the cluster.
    pub(super) props: Vec<Box<dyn Any>>,
    pub(super) cluster: Cluster,
    /// Servers of its own, if it has any.
    pub(super) zookeepers: Vec<ZooKeeperServer>,
}

impl Stage {
    /// Three nodes that are ready, on the ZooKeeper that all tests share.
    pub(super) fn ready() -> Self {
        Self::of(Cluster::start(3), Vec::new())
    }

    /// The same with ZooKeeper servers of its own.
    pub(super) fn with_zookeepers(zookeepers: Vec<ZooKeeperServer>, settings: &str) -> Self {
        let addresses: Vec<String> = zookeepers.iter().map(ZooKeeperServer::address).collect();
        let options =
            Options { zookeeper: Some(addresses.join(",")), settings: settings.to_owned(), ..Options::default() };
        Self::of(Cluster::start_with(3, &options), zookeepers)
    }

    pub(super) fn of(cluster: Cluster, zookeepers: Vec<ZooKeeperServer>) -> Self {
        Self { payers: None, props: Vec::new(), cluster, zookeepers }
    }

    /// Plays a runbook of this repository. `scenes` name the parts of it before which something has to happen.
    #[track_caller]
    pub(super) fn play(mut self, name: &str, scenes: &[(&str, Scene)]) {
        let document = runbook(name);
        let sections = play::sections(&document);
        for (section, _) in scenes {
            assert!(sections.contains(*section), "{name} has no commands in a part {section:?}");
        }
        let definitions = self.definitions();
        let played = play::play(&document, &definitions, &mut |request| self.perform(request, scenes));
        played.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }

    /// The commands and variables of `runbooks/README.md` for this cluster.
    fn definitions(&self) -> String {
        let nodes = &self.cluster.nodes;
        let client_url = |port: u16| format!("http://127.0.0.1:{port}");
        let names: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let urls: Vec<String> = nodes.iter().map(|node| client_url(node.port)).collect();
        let servers: Vec<String> = (1..=self.zookeepers.len()).map(|number| format!("zk{number}")).collect();
        let folder = nodes[0].config.parent().unwrap().display();
        let mut shell = format!(
            "NODES='{}'\nZOOKEEPERS='{}'\nexport QUORAPAY_URL={}\nF={folder}\n{}\n{DEFINITIONS}\n",
            names.join(" "),
            servers.join(" "),
            urls.join(","),
            runbook("shell/common.sh")
        );
        let cases: String =
            nodes.iter().map(|node| format!("{}) echo {};; ", node.id, client_url(node.port))).collect();
        writeln!(shell, "url() {{ case $1 in {cases}esac; }}").unwrap();
        let ports = self.zookeepers.iter().zip(&servers);
        let cases: String = ports.map(|(server, name)| format!("{name}) echo {};; ", server.address())).collect();
        writeln!(shell, "zookeeper_address() {{ case $1 in {cases}*) ;; esac; }}").unwrap();
        shell
    }

    fn perform(&mut self, request: &str, scenes: &[(&str, Scene)]) -> Result<String, String> {
        if let Some(section) = request.strip_prefix("scene ") {
            let scene = scenes.iter().find(|(name, _)| *name == section);
            return Ok(scene.map_or_else(String::new, |(_, scene)| scene(self)));
        }
        let (verb, name) = request.split_once(' ').ok_or("a verb and a name")?;
        if let Some(number) = name.strip_prefix("zk") {
            let number: usize = number.parse().map_err(|_| "no such server")?;
            self.do_to_zookeeper(verb, number - 1)?;
        } else {
            self.do_to_node(verb, self.cluster.position(name))?;
        }
        Ok(String::new())
    }

    fn do_to_node(&mut self, verb: &str, node: usize) -> Result<(), String> {
        let runs = self.cluster.nodes[node].is_running();
        let ended = self.cluster.nodes[node].has_ended();
        match verb {
            // What supervises a node forgets a process that has ended.
            "start" | "stop" | "kill" if ended => {
                self.cluster.kill(node);
                if verb == "start" {
                    self.cluster.restart(node);
                }
            }
            "start" if !runs => self.cluster.restart(node),
            "stop" if runs => self.cluster.terminate(node),
            "kill" if runs => self.cluster.kill(node),
            "start" | "stop" | "kill" => {}
            "cut" => self.cluster.set_cut(node, true),
            "connect" => self.cluster.set_cut(node, false),
            "correct_clock" => self.cluster.nodes[node].clock.as_ref().ok_or("no clock")?.set_off(0),
            _ => return Err(format!("no such verb: {verb}")),
        }
        Ok(())
    }

    fn do_to_zookeeper(&mut self, verb: &str, number: usize) -> Result<(), String> {
        let server = self.zookeepers.get_mut(number).ok_or("no such server")?;
        match verb {
            "start" if !server.runs() => server.start_again(),
            "start" => {}
            "stop" => server.stop(),
            "wipe" => server.wipe(),
            _ => return Err(format!("no such verb: {verb}")),
        }
        Ok(())
    }

    /// Starts clients at some nodes. They pay until they are stopped.
    pub(super) fn pay_at(&mut self, nodes: &[usize]) {
        self.payers = Some(Payers::start(&self.cluster, nodes));
    }

    /// Waits for so many payments.
    pub(super) fn wait_for_payments(&self, payments: usize) {
        self.payers.as_ref().expect("clients pay").wait_for_more(payments);
    }

    /// `N=` and the name of a node, for the shell.
    pub(super) fn named(&self, node: usize) -> String {
        format!("N={}", self.cluster.nodes[node].id)
    }
}

/// What does not differ from cluster to cluster. `$F` is the folder of its files.
pub(super) const DEFINITIONS: &str = r##"
start_node() { ask start "$1"; }
stop_node() { ask stop "$1"; }
kill_node() { ask kill "$1"; }
cut_node() { ask cut "$1"; }
connect_node() { ask connect "$1"; }
readers_of() {
  find /proc/[0-9]*/fd -lname "$F/$1/ledger.db" 2>/dev/null | cut -d / -f 3 | sort -u \
    | while read -r pid; do echo "$pid $(cat "/proc/$pid/comm")"; done || true
}
correct_clock() { ask correct_clock "$1"; }
node_log() { cat "$F/$1.log"; }
on_node() {
  mkdir -p "$F/$1" "$F/$1.spare"
  DATA="$F/$1" SPARE="$F/$1.spare" SETTINGS="--config $F/$1.toml" bash -c "$2"
}
set_cluster_id() { sed -i "s/^cluster_id = .*/cluster_id = \"$1\"/" "$F"/node*.toml; }
set_peer() { sed -i "s#^$1 = .*#$1 = \"$2\"#" "$F"/node*.toml; }
zookeeper_password() { sed -n 's/^zookeeper_password = "\(.*\)"/\1/p' "$F/$1.toml"; }
set_zookeeper_password() { sed -i "s/^zookeeper_password = .*/zookeeper_password = \"$1\"/" "$F"/node*.toml; }
start_zookeeper() { ask start "$1"; }
stop_zookeeper() { ask stop "$1"; }
wipe_zookeeper() { ask wipe "$1"; }
zookeeper_mode() {
  local address; address=$(zookeeper_address "$1")
  { exec 9<>"/dev/tcp/${address%:*}/${address#*:}" && echo srvr >&9 && grep ^Mode <&9; } 2>/dev/null || echo "no answer"
}
"##;

/// A document of `runbooks`.
pub(super) fn runbook(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(name)).unwrap()
}
