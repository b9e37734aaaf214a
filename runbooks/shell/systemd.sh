# The commands of the runbooks for nodes that systemd runs, one on each machine. Copy this folder, write your names
# into this file, and then: . systemd.sh
#
# It expects: `ssh node1` reaches the machine of node1, and `sudo` there asks for no password; a unit `quorapay` with
# `Restart=always` that runs `quorapay node --config /etc/quorapay/node.toml` as the user `quorapay`; ZooKeeper's unit is
# `zookeeper` on the machines zk1 to zk3. `quorapay` is installed on your own machine too.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
NODES="node1 node2 node3"
ZOOKEEPERS="zk1 zk2 zk3"
ZOOKEEPER_DATA=/var/lib/zookeeper/version-2
DOMAIN=example
# Nodes that listen elsewhere than on loopback ask for an API key: export QUORAPAY_API_KEY_FILE with one that allows everything.
export QUORAPAY_URL=http://node1.$DOMAIN:7101,http://node2.$DOMAIN:7101,http://node3.$DOMAIN:7101

url() { echo "http://$1.$DOMAIN:7101"; }

# A node.
start_node() { ssh "$1" sudo systemctl start quorapay; }
stop_node() { ssh "$1" sudo systemctl stop quorapay; }
kill_node() { ssh "$1" 'sudo systemctl kill --signal KILL quorapay; sudo systemctl stop quorapay'; }
node_log() { ssh "$1" sudo journalctl --unit quorapay --since -1h --output cat --no-pager; }
# The peers' port, in both directions.
PEERS="-p tcp -m multiport --ports 7201,2181 -j DROP"
cut_node() { ssh "$1" "sudo iptables -I INPUT $PEERS && sudo iptables -I OUTPUT $PEERS"; }
connect_node() { ssh "$1" "sudo iptables -D INPUT $PEERS && sudo iptables -D OUTPUT $PEERS"; }
correct_clock() { ssh "$1" sudo chronyc makestep; }
# The processes that have its ledger open.
readers_of() { ssh "$1" sudo fuser --verbose /var/lib/quorapay/ledger.db; }

# Runs a command with the data ($DATA), a place for copies ($SPARE) and the settings of a node, whether it runs or not.
on_node() {
  ssh "$1" "sudo install -d -o quorapay -g quorapay -m 0700 /var/lib/quorapay /var/lib/quorapay-spare && sudo -u quorapay env \
    DATA=/var/lib/quorapay SPARE=/var/lib/quorapay-spare SETTINGS='--config /etc/quorapay/node.toml' bash -c $(printf %q "$2")"
}

# Settings, on every node. A node reads them when it starts.
set_on_all() { for node in $NODES; do ssh "$node" "sudo sed -i $(printf %q "$1") /etc/quorapay/node.toml"; done; }
set_cluster_id() { set_on_all "s/^cluster_id = .*/cluster_id = \"$1\"/"; }
set_peer() { set_on_all "s#^$1 = .*#$1 = \"$2\"#"; }
zookeeper_password() { ssh "$1" "sudo sed -n 's/^zookeeper_password = \"\(.*\)\"/\1/p' /etc/quorapay/node.toml"; }
set_zookeeper_password() { set_on_all "s/^zookeeper_password = .*/zookeeper_password = \"$1\"/"; }

# A ZooKeeper server.
start_zookeeper() { ssh "$1" sudo systemctl start zookeeper; }
stop_zookeeper() { ssh "$1" sudo systemctl stop zookeeper; }
wipe_zookeeper() { ssh "$1" "sudo rm -rf $ZOOKEEPER_DATA"; }
zookeeper_mode() { echo srvr | nc -w 2 "$1" 2181 | grep ^Mode || echo "no answer"; }
