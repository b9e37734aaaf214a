# What the runbooks use in every deployment. The other files of this folder read it. Needs curl and Python 3.

# The node that leads.
leader() { quorapay status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["leader"])'; }

# What a node says of itself. A node that does not answer is named.
metrics() { curl -sf --max-time 5 "$(url "$1")/metrics" | grep -E "^quorapay_($2)" || echo "$1 does not answer, or has no $2"; }

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

# Waits until every node is ready, a minute each.
wait_for_all() { local node; for node in $NODES; do quorapay ready --url "$(url "$node")" --deadline-ms 60000; done; }
