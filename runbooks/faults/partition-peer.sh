#!/usr/bin/env bash
# Two nodes do not reach each other, and both reach the third.
# Usage: [TARGET=compose] partition-peer.sh [NODE [OTHER]]
exec "$(dirname "$0")/try.sh" partition --node "${1:-node1}" --from "${2:-node2}"
