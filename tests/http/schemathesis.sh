#!/usr/bin/env bash
# Tests a real cluster against its own OpenAPI description: schemathesis.sh [SECONDS]. Starts three nodes on free ports,
# lets schemathesis make valid and invalid calls from /openapi.json, and stops the cluster.
#
# BINARY=... names the quorapay binary; without it the binary is built. SEED=... tries other calls.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}

# The tools are installed into target/, and again when the versions change.
environment=target/schemathesis
wanted=$(cksum <tests/http/requirements.txt)
if [ "$(cat "$environment/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$environment"
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        apt-get update -q && apt-get install -q -y python3-venv
    fi
    python3 -m venv "$environment"
    "$environment/bin/pip" install -q -r tests/http/requirements.txt
    echo "$wanted" >"$environment/installed"
fi

binary=${BINARY:-target/debug/quorapay}
[ -n "${BINARY:-}" ] || cargo build --workspace --bin quorapay

port=$("$environment/bin/python" tests/http/free_port.py)
data=$(mktemp -d)
cluster=
end() {
    [ -z "$cluster" ] || { kill -TERM "$cluster" 2>/dev/null && wait "$cluster" 2>/dev/null; } || true
    rm -rf "$data"
}
trap end EXIT
trap 'exit 130' INT TERM

mkfifo "$data/said"
"$binary" dev --port "$port" --data-dir "$data/cluster" --no-input >"$data/said" 2>&1 &
cluster=$!
exec {said}<"$data/said"
until [[ ${line:-} == *ready* ]]; do
    if ! read -r -t 90 line <&"$said"; then
        echo "schemathesis: the cluster does not start" >&2
        tail -n 20 "$data"/cluster/*.log >&2 || true
        exit 1
    fi
done
cat <&"$said" >/dev/null &

mkdir -p target/http
cd tests/http
PYTHONPATH=. "../../$environment/bin/schemathesis" --config-file schemathesis.toml run \
    "http://127.0.0.1:$((port + 1))/openapi.json" --max-time "$seconds" --max-examples "${EXAMPLES:-25}" \
    --max-failures 20 --continue-on-failure ${SEED:+--seed "$SEED"} \
    --report junit --report-junit-path ../../target/http/schemathesis.xml
