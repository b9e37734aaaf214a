# The commands of the runbooks for `quorapay dev` on this machine: for practice and for the demo. Say where its data are, if not
# in ./quorapay-dev, and then read this file: DEV=/tmp/dev; . runbooks/shell/dev.sh

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
DEV=$(realpath "${DEV:-quorapay-dev}")
of_dev() { python3 -c "import json; dev = json.load(open('$DEV/dev.json')); print($1)"; }
NODES=$(of_dev '" ".join(node["id"] for node in dev["nodes"])')
ZOOKEEPERS=zk1
QUORAPAY_URL=$(of_dev '",".join(node["url"] for node in dev["nodes"])')
export QUORAPAY_URL

url() { of_dev "next(node['url'] for node in dev['nodes'] if node['id'] == '$1')"; }

# A node. Its process is found by its configuration file, whoever has started it.
pid_of() { pgrep -f -- "node --config $DEV/$1.toml"; }
end_node() {
  local pid
  pid=$(pid_of "$2") || return 0
  kill -s "$1" "$pid"
  while pid_of "$2" >/dev/null; do sleep 0.05; done
}
start_node() {
  pid_of "$1" >/dev/null && return
  # No job of this shell, so that `wait` does not wait for it.
  (setsid quorapay node --config "$DEV/$1.toml" >>"$DEV/$1.log" 2>&1 </dev/null &)
}
stop_node() { end_node TERM "$1"; }
kill_node() { end_node KILL "$1"; }
node_log() { cat "$DEV/$1.log"; }
readers_of() { fuser --verbose "$DEV/$1/ledger.db"; }
# All nodes have this machine's clock, and its loopback as their network.
correct_clock() { sudo chronyc makestep; }
cut_node() { kill -s STOP "$(pid_of "$1")"; }
connect_node() { kill -s CONT "$(pid_of "$1")"; }

# Runs a command with the data ($DATA), a place for copies ($SPARE) and the settings of a node, whether it runs or not.
on_node() {
  mkdir -p "$DEV/$1" "$DEV/$1.spare"
  DATA="$DEV/$1" SPARE="$DEV/$1.spare" SETTINGS="--config $DEV/$1.toml" bash -c "$2"
}

# Settings, on every node. A node reads them when it starts.
set_cluster_id() { sed -i "s/^cluster_id = .*/cluster_id = \"$1\"/" "$DEV"/node*.toml; }
set_peer() { sed -i "s#^$1 = .*#$1 = \"$2\"#" "$DEV"/node*.toml; }
zookeeper_password() { sed -n 's/^zookeeper_password = "\(.*\)"/\1/p' "$DEV/$1.toml"; }
set_zookeeper_password() { sed -i "s/^zookeeper_password = .*/zookeeper_password = \"$1\"/" "$DEV"/node*.toml; }

# The ZooKeeper server belongs to `quorapay dev`, which ends with it. So it is paused.
start_zookeeper() { pkill -CONT -f "$DEV/zookeeper"; }
stop_zookeeper() { pkill -STOP -f "$DEV/zookeeper"; }
wipe_zookeeper() { echo "quorapay dev keeps this server's data" >&2; return 1; }
zookeeper_mode() {
  local address
  address=$(of_dev 'dev["zookeeper"]')
  { exec 9<>"/dev/tcp/${address%:*}/${address#*:}" && echo srvr >&9 && timeout 2 grep ^Mode <&9; } 2>/dev/null || echo "no answer"
}
