#!/usr/bin/env bash
# A bit flips in the ledger of a node. It notices, moves the ledger aside and copies everything from the others.
# Usage: [TARGET=compose] bit-flip.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" bit-flip --node "${1:-follower}"
