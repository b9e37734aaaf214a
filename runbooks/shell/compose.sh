# The commands of the runbooks for the stack of docker-compose.yml. In the folder of that file: . runbooks/shell/compose.sh

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
COMPOSE=${COMPOSE:-$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)}
NODES="node1 node2 node3"
ZOOKEEPERS="zk1 zk2 zk3"
export QUORAPAY_URL=http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103

# The client commands, in a container of the stack's network, if this machine has no quorapay of its own.
if ! command -v quorapay >/dev/null; then
  quorapay() {
    docker run --rm --interactive --network host --env QUORAPAY_URL --volume "$PWD:/work" --workdir /work \
      --user "$(id -u):$(id -g)" quorapay:latest "$@"
  }
fi

url() { echo "http://127.0.0.1:710${1#node}"; }

# A node. `start_node` makes the container anew if its image or its settings have changed. It leaves alone what runs: with
# --no-deps, compose v2 takes a container that was made without it for changed, and would restart the node.
start_node() {
  [ "$(docker inspect --format '{{.State.Status}}' "quorapay-$1" 2>/dev/null)" = running ] || $COMPOSE up --detach --no-deps "$1"
}
stop_node() { docker stop "quorapay-$1" >/dev/null; }
kill_node() {
  docker unpause "quorapay-$1" >/dev/null 2>&1 || true
  docker kill "quorapay-$1" >/dev/null
}
node_log() { docker logs --since 1h "quorapay-$1" 2>&1; }
cut_node() { docker network disconnect quorapay "quorapay-$1"; }
# Without its alias a node reaches the others and is not reached.
connect_node() { docker network connect --alias "$1" quorapay "quorapay-$1"; }
# Containers have the clock of their machine.
correct_clock() { sudo chronyc makestep; }
# The processes that have its ledger open.
readers_of() { sudo fuser --verbose "$(docker volume inspect --format '{{.Mountpoint}}' "quorapay-$1")/ledger.db"; }

# Runs a command with the data ($DATA), a place for copies ($SPARE) and the settings of a node, whether it runs or not.
on_node() {
  # A new volume gets the owner of the image's /data.
  docker run --rm --volume "quorapay-spare-$1:/data" --entrypoint true quorapay:latest
  $COMPOSE run --rm --no-deps -T --volume "quorapay-spare-$1:/spare" --entrypoint sh "$1" \
    -c "DATA=/data SPARE=/spare SETTINGS=; $2"
}

# Settings. A node reads them when it starts.
set_cluster_id() {
  touch .env
  sed -i '/^QUORAPAY_CLUSTER_ID=/d' .env
  echo "QUORAPAY_CLUSTER_ID=$1" >> .env
}
# One file for all nodes, in the volume quorapay-secrets.
zookeeper_password() { docker run --rm --volume quorapay-secrets:/secrets:ro --entrypoint cat quorapay:latest /secrets/zookeeper-password; }
set_zookeeper_password() {
  printf %s "$1" | docker run --rm --interactive --volume quorapay-secrets:/secrets --entrypoint tee quorapay:latest \
    /secrets/zookeeper-password >/dev/null
}
set_peer() { echo "nothing to set: in this stack a node's address is its name"; }

# A ZooKeeper server.
start_zookeeper() { $COMPOSE up --detach --no-deps "$1"; }
stop_zookeeper() { docker stop "quorapay-$1" >/dev/null; }
wipe_zookeeper() {
  docker rm --force "quorapay-$1"
  docker volume rm "quorapay-$1-data" "quorapay-$1-log"
}
zookeeper_mode() {
  docker exec "quorapay-$1" bash -c 'exec 9<>/dev/tcp/127.0.0.1/2181 && echo srvr >&9 && grep ^Mode <&9' 2>/dev/null \
    || echo "no answer"
}
