#!/usr/bin/env bash
# A node dies and loses its disk. It comes back as a learner, copies everything and votes again.
# Usage: [TARGET=compose] disk-wiped.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" disk-wiped --node "${1:-follower}"
