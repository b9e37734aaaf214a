#!/usr/bin/env bash
# Every sync of a node fails. It gives up its ledger, ends, and comes back as a learner.
# Usage: [TARGET=compose] fsync-error.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" fsync-error --node "${1:-follower}"
