#!/usr/bin/env bash
# A node dies, as with kill -9. If it led, another node leads within some tens of milliseconds; payments wait that long.
# Usage: [TARGET=compose] kill.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" kill --node "${1:-leader}"
