#!/usr/bin/env bash
# The links of a node lose packets. TCP repeats them: payments get slow and none fails.
# Usage: [TARGET=compose] loss.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" loss --node "${1:-leader}" --by "${2:-10%}"
