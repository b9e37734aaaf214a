#!/usr/bin/env bash
# Every sync of a node takes longer. A leader whose disk hangs for two seconds hands over.
# Usage: [TARGET=compose] slow-sync.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" slow-sync --node "${1:-leader}" --by "${2:-500ms}"
