#!/usr/bin/env bash
# Power losses, failed syncs and kills between write and sync on file systems of the nodes' own: power_loss.sh ROUNDS
# ROUNDS_PER_CHECK. Each run of ROUNDS_PER_CHECK rounds has a new cluster and another seed, and ends with the check of its
# history against its complete ledgers. Takes root. QUORAPAY_BINARY is the program under test.
set -euo pipefail

rounds=$1 per_check=$2 seed=${SEED:-1} done=0
while [ "$done" -lt "$rounds" ]; do
    now=$((rounds - done < per_check ? rounds - done : per_check))
    "$QUORAPAY_BINARY" chaos --faults power-loss,fsync-error,kill-at-sync --rounds "$now" --seed "$seed" \
        --zookeepers 1 --report "target/power-loss/$seed"
    done=$((done + now)) seed=$((seed + 1))
    echo "== $done of $rounds rounds kept every promise"
done
