#!/usr/bin/env bash
# A docker daemon for the tests on containers, and the images that they build on.
#
#   docker.sh start DIR    finds a daemon and docker-compose; as root it installs them (Debian, Ubuntu) and starts one.
#                          Its pid and its log are in DIR
#   docker.sh images       pulls the base images, or makes local stand-ins for those that cannot be pulled
#   docker.sh stop DIR     ends the daemon that `start` has started, and removes its bridge and its packet filters
#
# Needs a few hundred megabytes for each image. Images stay: they are the cache of the next build.
set -euo pipefail
root=$(realpath "$(dirname "$0")/../..")
RUST_IMAGE=${RUST_IMAGE:-$(sed -n 's/^ARG RUST_IMAGE=//p' "$root/Dockerfile")}

fail() { echo "docker.sh: $*" >&2 && exit 1; }

answers() { docker info >/dev/null 2>&1; }
has_compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

install() {
    [ "$(id -u)" -eq 0 ] || fail "no docker daemon answers, and only root may install and start one: $1 is missing"
    command -v apt-get >/dev/null || fail "$1 is missing, and there is no apt-get to install it with"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -q && apt-get install -y -q --no-install-recommends docker.io docker-compose; } >&2 \
        || fail "apt-get could not install docker.io and docker-compose"
}

start() {
    local directory=$1 log=$1/dockerd.log mtu pid
    command -v docker >/dev/null || install docker
    has_compose || install "docker compose"
    answers && return
    command -v dockerd >/dev/null || install dockerd
    [ "$(id -u)" -eq 0 ] || fail "no docker daemon answers, and only root may start one"
    mkdir -p "$directory"
    # What is routed into a network with smaller packets than the bridge's gets lost in it.
    mtu=$(cat "/sys/class/net/$(ip route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -1)/mtu" 2>/dev/null || echo 1500)
    iptables -S FORWARD | head -1 >"$directory/forward"
    filters >"$directory/filters"
    setsid dockerd --mtu "$mtu" >"$log" 2>&1 </dev/null &
    pid=$!
    echo "$pid $(began "$pid")" >"$directory/dockerd.pid"
    for _ in $(seq 120); do
        answers && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.25
    done
    stop "$directory"
    fail "dockerd does not start: $(tail -1 "$log")"
}

# When a process began, so that it is not taken for another one with its number.
began() { awk '{ print $22 }' "/proc/$1/stat" 2>/dev/null || echo never; }

# The packet filters, without what they have counted.
filters() { iptables-save | sed -e '/^#/d' -e 's/\[[0-9]*:[0-9]*\]$/[0:0]/'; }

stop() {
    local directory=$1 pid=0 at=none
    [ -f "$directory/dockerd.pid" ] || return 0
    read -r pid at <"$directory/dockerd.pid" || true
    if [ "$(began "$pid")" = "$at" ]; then
        kill "$pid" 2>/dev/null || true
    elif answers; then
        # Left by a test that was killed: the filters are those of the daemon that runs now.
        rm -f "$directory/dockerd.pid" && return 0
    else
        # Killed with its daemon, or before this machine was started again: the number may be another process's by now.
        pid=0
    fi
    # A daemon that has ended may stay as a zombie, where nobody reaps it.
    while grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" 2>/dev/null; do sleep 0.1; done
    # dockerd leaves them behind, and every packet of this machine goes through them. What was there before stays.
    filters | awk 'FILENAME == ARGV[1] { before[$0] = 1; next } tolower($0) !~ /docker/ || $0 in before' "$directory/filters" - \
        | iptables-restore
    iptables "$(sed 's/ .*//' "$directory/forward")" FORWARD "$(sed 's/.* //' "$directory/forward")"
    ip link delete docker0 2>/dev/null || true
    rm -f "$directory/dockerd.pid" "$directory/forward" "$directory/filters"
}

# Whether an image is there, or can be pulled.
have() { docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >/dev/null 2>&1; }

# A minimal Debian, with the certificates that this machine trusts.
stand_in_debian() {
    command -v debootstrap >/dev/null || apt-get install -y -q --no-install-recommends debootstrap >&2
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian" >"$work/log" 2>&1 || fail "$(tail -1 "$work/log")"
    cp /etc/ssl/certs/ca-certificates.crt "$work/debian/etc/ssl/certs/"
    tar -C "$work/debian" -c . | docker import - "$1" >/dev/null
}

# This machine's compiler, which must have the version that the image's name promises.
stand_in_rust() {
    local toolchain wanted
    toolchain=$(rustc --print sysroot) || fail "there is no image $1, and no Rust on this machine to make one of"
    wanted=$(echo "$1" | grep -oE '[0-9]+\.[0-9]+\.[0-9]+') && [[ $(rustc --version) == "rustc $wanted "* ]] \
        || fail "there is no image $1, and this machine's compiler is $(rustc --version)"
    tar -C "$toolchain" -cf "$work/toolchain.tar" --exclude share bin lib
    cp /etc/ssl/certs/ca-certificates.crt "$work"
    build "$1" <<'X'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ libc6-dev make pkg-config
ADD toolchain.tar /usr/local/
COPY ca-certificates.crt /etc/ssl/certs/
X
}

# Debian's ZooKeeper, with as much of the official image's conventions as docker-compose.yml uses.
stand_in_zookeeper() {
    cat >"$work/entrypoint.sh" <<'X'
#!/bin/bash
set -e
{
    echo "dataDir=/data"
    echo "dataLogDir=/datalog"
    echo "tickTime=$ZOO_TICK_TIME"
    echo "initLimit=$ZOO_INIT_LIMIT"
    echo "syncLimit=$ZOO_SYNC_LIMIT"
    echo "autopurge.purgeInterval=$ZOO_AUTOPURGE_PURGEINTERVAL"
    echo "4lw.commands.whitelist=$ZOO_4LW_COMMANDS_WHITELIST"
    echo "admin.enableServer=$ZOO_ADMINSERVER_ENABLED"
    printf '%s\n' $ZOO_SERVERS
} >/conf/zoo.cfg
[ -f /data/myid ] || echo "$ZOO_MY_ID" >/data/myid
chown -R zookeeper /conf /data /datalog
classes=/conf:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar
exec setpriv --reuid zookeeper --regid zookeeper --clear-groups \
    java "-Xmx${ZK_SERVER_HEAP}m" -cp "$classes" org.apache.zookeeper.server.quorum.QuorumPeerMain /conf/zoo.cfg
X
    chmod +x "$work/entrypoint.sh"
    build "$1" <<'X'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends zookeeper libslf4j-java && mkdir -p /conf /data /datalog
COPY entrypoint.sh /docker-entrypoint.sh
VOLUME ["/data", "/datalog"]
ENTRYPOINT ["/docker-entrypoint.sh"]
X
}

# Builds an image of the files in $work by the recipe on the standard input.
build() {
    cat >"$work/Dockerfile"
    docker build --network host --tag "$1" "$work" >"$work/log" 2>&1 || fail "$1 cannot be built: $(tail -3 "$work/log")"
}

images() {
    local image kind
    for kind in debian:debian:bookworm-slim zookeeper:zookeeper:3.9 "rust:$RUST_IMAGE"; do
        image=${kind#*:}
        have "$image" && continue
        echo "$image cannot be pulled; making a stand-in of what this machine has" >&2
        rm -rf "${work:-}"
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        "stand_in_${kind%%:*}" "$image"
    done
}

case "${1:-help}" in
start | stop) [ -n "${2:-}" ] || fail "which folder?" ; "$1" "$2" ;;
images) images ;;
*) sed -n '2,/^set/p' "$0" | grep '^#' | cut -c3- ;;
esac
