#!/usr/bin/env bash
# Installs ZooKeeper and runs private servers: one for `quorapay dev`, three as an ensemble in the tests.
#
# The script is also embedded in the `quorapay` binary, so it needs no other file: `run` writes the configuration of
# the server that it starts. `zoo.cfg` in this folder is a commented configuration for operators of an ensemble.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: zookeeper.sh install
           Installs ZooKeeper with apt if none is found (Debian, Ubuntu).
       zookeeper.sh where
           Prints where ZooKeeper was found; exit code 1 if nowhere.
       zookeeper.sh run --data DIR --port PORT [options]
           Runs one server in the foreground until it gets a signal. Its log is DIR/zookeeper.log.

options of run:
  --listen ADDRESS   address for clients (127.0.0.1)
  --tick-ms MS       ZooKeeper's tick; the shortest session is two ticks (200)
  --heap-mb MB       largest Java heap (64)
  --id N --ensemble HOST:PEERPORT:ELECTIONPORT:CLIENTPORT,...
                     be server N, counted from 1, of this ensemble; --port may then be left out

ZooKeeper is looked for in $ZOOKEEPER_HOME, /usr/share/java, /usr/share/zookeeper, /opt/zookeeper, /usr/local/zookeeper
and Homebrew's folders.
TEXT
}

fail() {
    echo "zookeeper.sh: $*" >&2
    exit 1
}

# A ZooKeeper release has its dependencies next to lib/zookeeper-VERSION.jar. Debian's jar names its dependencies in its
# manifest, except the logger.
release_class_path() {
    compgen -G "$1/lib/zookeeper-[0-9]*.jar" >/dev/null && echo "$1/lib/*"
}

debian_class_path() {
    [ -r "$1" ] || return 1
    local logger="${1%/*}/slf4j-simple.jar"
    if [ -r "$logger" ]; then echo "$1:$logger"; else echo "$1"; fi
}

class_path() {
    local home
    if [ -n "${ZOOKEEPER_HOME:-}" ]; then
        release_class_path "$ZOOKEEPER_HOME" || fail "ZOOKEEPER_HOME is $ZOOKEEPER_HOME, but that holds no lib/zookeeper-*.jar"
        return
    fi
    debian_class_path /usr/share/java/zookeeper.jar && return
    for home in /usr/share/zookeeper /opt/zookeeper /usr/local/zookeeper \
        /opt/homebrew/opt/zookeeper/libexec /usr/local/opt/zookeeper/libexec; do
        release_class_path "$home" && return
    done
    return 1
}

java_command() {
    if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then
        echo "$JAVA_HOME/bin/java"
    else
        command -v java
    fi
}

install() {
    local as_root=()
    if class_path >/dev/null && java_command >/dev/null; then
        echo "ZooKeeper is there: $(class_path)"
        return
    fi
    command -v apt-get >/dev/null || fail "$(missing) This system has no apt-get: install Java 11 or newer, unpack" \
        "a ZooKeeper release and set ZOOKEEPER_HOME to its folder."
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "$(missing) Run as root: apt-get install zookeeper"
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        zookeeper default-jre-headless >&2
    class_path >/dev/null || fail "apt-get installed ZooKeeper, but it is not where it was expected"
    echo "ZooKeeper is there: $(class_path)"
}

missing() {
    local what=()
    class_path >/dev/null || what+=("ZooKeeper")
    java_command >/dev/null || what+=("Java (no java in PATH or JAVA_HOME)")
    local text="${what[0]:-}"
    [ "${#what[@]}" -lt 2 ] || text="$text and ${what[1]}"
    echo "missing: $text."
}

where() {
    class_path || fail "ZooKeeper is nowhere to be found; run 'zookeeper.sh install' or set ZOOKEEPER_HOME"
}

is_number() { [[ "$1" =~ ^[0-9]+$ ]]; }

data='' port='' listen=127.0.0.1 tick_ms=200 heap_mb=64 id='' ensemble=''

parse_run_options() {
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || fail "$1 needs a value"
        case "$1" in
        --data) data=$2 ;;
        --port) port=$2 ;;
        --listen) listen=$2 ;;
        --tick-ms) tick_ms=$2 ;;
        --heap-mb) heap_mb=$2 ;;
        --id) id=$2 ;;
        --ensemble) ensemble=$2 ;;
        *) fail "unknown option $1; see 'zookeeper.sh help'" ;;
        esac
        shift 2
    done
    [ -n "$data" ] || fail "--data is missing"
    is_number "$tick_ms" && is_number "$heap_mb" || fail "--tick-ms and --heap-mb are whole numbers"
    if [ -n "$ensemble$id" ]; then
        is_number "$id" && [ -n "$ensemble" ] || fail "--id N and --ensemble LIST go together"
    fi
}

# Prints the `server.N=` lines of the ensemble.
ensemble_lines() {
    local entry number=0 host peer_port election_port client_port
    [ -n "$ensemble" ] || return 0
    IFS=, read -ra entries <<<"$ensemble"
    for entry in "${entries[@]}"; do
        number=$((number + 1))
        IFS=: read -r host peer_port election_port client_port <<<"$entry"
        is_number "$peer_port" && is_number "$election_port" && is_number "$client_port" ||
            fail "'$entry' in --ensemble is not HOST:PEERPORT:ELECTIONPORT:CLIENTPORT"
        echo "server.$number=$host:$peer_port:$election_port"
    done
    [ "$id" -ge 1 ] && [ "$id" -le "$number" ] || fail "--id $id is not within 1 and $number"
}

own_client_port() {
    cut -d, -f"$id" <<<"$ensemble" | cut -d: -f4
}

# ZooKeeper counts initLimit and syncLimit in ticks: these values keep them at ten and five seconds for every tick.
write_configuration() {
    local servers
    servers=$(ensemble_lines)
    [ -n "$port" ] || [ -z "$ensemble" ] || port=$(own_client_port)
    is_number "$port" || fail "--port is missing or no number"
    [ -z "$id" ] || echo "$id" >"$data/myid"
    cat >"$data/zoo.cfg" <<TEXT
dataDir=$data
clientPort=$port
clientPortAddress=$listen
tickTime=$tick_ms
minSessionTimeout=$((2 * tick_ms))
maxSessionTimeout=$((20 * tick_ms > 20000 ? 20 * tick_ms : 20000))
initLimit=$((10000 / tick_ms + 1))
syncLimit=$((5000 / tick_ms + 1))
maxClientCnxns=1000
admin.enableServer=false
4lw.commands.whitelist=srvr,ruok,stat,cons,mntr,isro
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
$servers
TEXT
    cat >"$data/logback.xml" <<TEXT
<configuration>
  <appender name="FILE" class="ch.qos.logback.core.FileAppender">
    <file>$data/zookeeper.log</file>
    <encoder><pattern>%d{ISO8601} %-5p [%t] %c{1}: %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="FILE"/></root>
</configuration>
TEXT
}

# A private server runs for minutes and does little work. The C1 compiler and the serial garbage collector start it in
# a third of the time and leave the other cores to the nodes. The transaction log is preallocated in steps of 1 MiB,
# because the default of 64 MiB would be the slowest part of the start.
run() {
    local class_path java
    parse_run_options "$@"
    class_path=$(class_path) && java=$(java_command) || fail "$(missing) Run 'zookeeper.sh install'."
    mkdir -p "$data"
    data=$(cd "$data" && pwd)
    write_configuration
    exec "$java" -Xms16m "-Xmx${heap_mb}m" -Xss512k -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto \
        -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true -Djava.net.preferIPv4Stack=true \
        -Dzookeeper.jmx.log4j.disable=true -Dzookeeper.preAllocSize=1024 \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "-Dorg.slf4j.simpleLogger.logFile=$data/zookeeper.log" \
        -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS" \
        -cp "$data:$class_path" org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zoo.cfg"
}

case "${1:-help}" in
install | where) "$1" ;;
run) shift && run "$@" ;;
help | -h | --help) usage ;;
*) usage >&2 && exit 2 ;;
esac
