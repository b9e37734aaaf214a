#!/usr/bin/env bash
# A node sends and hears nobody: it would go on as leader if it needed no answers.
# Usage: [TARGET=compose] partition-one-way.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" partition --node "${1:-leader}" --from peers --one-way in
