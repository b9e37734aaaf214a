#!/usr/bin/env bash
# All of ZooKeeper dies. Payments go on; only elections wait for it.
# Usage: [TARGET=compose] zookeeper-all.sh
exec "$(dirname "$0")/try.sh" zookeeper-all
