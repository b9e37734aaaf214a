#!/usr/bin/env bash
# Writes of a node fail for want of space. It ends, because it cannot know what it has stored, and another node leads.
# Usage: [TARGET=compose] disk-full.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" disk-full --node "${1:-leader}"
