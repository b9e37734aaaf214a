#!/usr/bin/env bash
# Every sync of a node fails. It ends, and cannot even mark its ledger as given up. So its next start writes the ledger again
# before it trusts it, and the node goes on with it. After a single failed sync it would come back as a learner.
# Usage: [TARGET=compose] fsync-error.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" fsync-error --node "${1:-follower}"
