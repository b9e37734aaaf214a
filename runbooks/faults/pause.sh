#!/usr/bin/env bash
# A node hangs. The others replace a hung leader after 0.4 s; when it goes on, it finds that it was deposed.
# Usage: [TARGET=compose] pause.sh [NODE, leader or follower]
exec "$(dirname "$0")/try.sh" pause --node "${1:-leader}"
