#!/usr/bin/env bash
# One ZooKeeper server dies. On the stack two of three go on, and nothing is to be seen.
# Usage: [TARGET=compose] zookeeper-server.sh [SERVER]
exec "$(dirname "$0")/try.sh" zookeeper-server ${1:+--node "$1"}
