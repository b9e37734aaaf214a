# What the runbooks use in every deployment. The other files of this folder read it. Needs curl and Python 3.

# The node that leads.
leader() { quorapay status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["leader"])'; }

# Sends the API key in $QUORAPAY_API_KEY_FILE, if there is one, without showing it to other users of the machine.
curl() {
  if [ -n "${QUORAPAY_API_KEY_FILE:-}" ]; then
    command curl -H @<(echo "Authorization: Bearer $(cat "$QUORAPAY_API_KEY_FILE")") "$@"
  else
    command curl "$@"
  fi
}

# What a node says of itself. A node that does not answer is named.
metrics() { curl -sf --max-time 5 "$(url "$1")/metrics?format=prometheus" | grep -E "^quorapay_($2)" || echo "$1 does not answer, or has no $2"; }

# Compares the hash of the last entry that every node has committed. It covers the whole history before it.
compare_ledgers() {
  local node last
  last=$(quorapay status --json | python3 -c 'import json, sys
print(min(node["status"]["commit_index"] for node in json.load(sys.stdin)["nodes"]))')
  for node in $NODES; do
    curl -sf --max-time 60 "$(url "$node")/v1/ledger?from_index=$last&limit=1&min_index=$last" \
      | python3 -c 'import json, sys; print(json.load(sys.stdin)["entries"][0]["hash"])'
  done | sort | uniq -c | awk '{ print $1 " nodes have the hash " $2 }'
}

# Waits until a node can serve and is connected to ZooKeeper, for a minute at most.
wait_for() {
  local said
  for _ in $(seq 120); do
    said=$(quorapay ready --url "$(url "$1")" --deadline-ms 60000) || return 1
    case $said in *"ZooKeeper connected") echo "$said" && return ;; esac
    sleep 0.5
  done
  echo "$said" && return 1
}
wait_for_all() { local node; for node in $NODES; do wait_for "$node"; done; }
