#!/usr/bin/env bash
# A node loses ZooKeeper alone. A leader goes on; the node cannot be elected until ZooKeeper is back.
# Usage: [TARGET=compose] partition-zookeeper.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" partition --node "${1:-leader}" --from zookeeper
