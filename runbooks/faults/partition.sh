#!/usr/bin/env bash
# A node is cut off from the other nodes and from ZooKeeper. A leader that reaches nobody steps down within a second.
# Usage: [TARGET=compose] partition.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" partition --node "${1:-leader}"
