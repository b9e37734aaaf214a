#!/usr/bin/env bash
# The clock of a node runs too fast. Only on dev: quorapay dev --clocks
# Usage: [TARGET=compose] clock-drift.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" clock-drift --node "${1:-leader}" --by "${2:-100ms}"
