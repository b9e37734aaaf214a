#!/usr/bin/env bash
# Makes a fault while payments are made, shows what it does, heals it, and shows that nothing is left of it. The other scripts
# of this folder are each one line of this.
#
#   quorapay dev                                          # in another terminal
#   runbooks/faults/try.sh partition --node node1 --from zookeeper
#   TARGET=compose LASTING=10 runbooks/faults/kill.sh     # the test stack: QUORAPAY_TEST_STACK=true in .env
#
# TARGET    dev (default) or compose
# DATA_DIR  the folder of quorapay dev (quorapay-dev)
# LASTING   seconds until the fault is healed (5)
# QUORAPAY  the program (quorapay), QUORAPAY_URL the nodes (those of both targets by default)
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,/^set/p' "$0" | grep '^#' | cut -c3- && exit 2; }
lasting=${LASTING:-5}
quorapay=${QUORAPAY:-quorapay}
export QUORAPAY_URL=${QUORAPAY_URL:-http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103}
target=(--target "${TARGET:-dev}" --data-dir "${DATA_DIR:-quorapay-dev}")
figures=$(mktemp)

heal() {
    "$quorapay" heal --all "${target[@]}"
}

end() {
    heal >/dev/null
    [ -z "${load:-}" ] || kill "$load" 2>/dev/null || true
    rm -f "$figures"
}

title() { printf '\n== %s\n' "$*"; }

title "before"
"$quorapay" status
trap end EXIT
"$quorapay" bench --rate 100 --connections 64 --failover --warm-up 0s --duration "$((lasting + 6))s" >"$figures" &
load=$!
sleep 2

title "quorapay fault $*"
"$quorapay" fault "$@" "${target[@]}"
sleep "$lasting"

title "while it lasts"
"$quorapay" status || true

title "quorapay heal --all"
heal

title "100 payments a second meanwhile, retried at the next node under the same key"
wait "$load"
cat "$figures"

title "after"
for node in ${QUORAPAY_URL//,/ }; do
    "$quorapay" ready --deadline-ms 60000 --url "$node"
done
"$quorapay" status
