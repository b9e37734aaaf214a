#!/usr/bin/env bash
# The links of a node are slow. Only on dev: packet filters do not delay.
# Usage: [TARGET=compose] delay.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" delay --node "${1:-leader}" --by "${2:-80ms}"
