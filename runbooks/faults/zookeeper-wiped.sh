#!/usr/bin/env bash
# All of ZooKeeper dies and loses its data. It held no payment: the nodes write again what they need.
# Usage: [TARGET=compose] zookeeper-wiped.sh
exec "$(dirname "$0")/try.sh" zookeeper-wiped
