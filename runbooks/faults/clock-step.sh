#!/usr/bin/env bash
# The clock of a node jumps. One wrong clock of three has no effect. Only on dev: quorapay dev --clocks
# Usage: [TARGET=compose] clock-step.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" clock-step --node "${1:-leader}" --by "${2:-1h}"
