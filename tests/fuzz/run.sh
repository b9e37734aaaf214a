#!/usr/bin/env bash
# Fuzzes all targets, or the named ones: run.sh SECONDS [TARGET...]. The targets share the seconds. With SEED=7 each run
# tries the same inputs, as many as fit into the time; without a seed each run tries other inputs.
#
# libFuzzer stores interesting inputs in target/fuzz/TARGET, and the next run continues from them. An input that fails a
# check is stored in target/fuzz/broken, and the command to repeat it is printed. The checked-in corpus is not changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-30}
shift || true

if ! command -v c++ >/dev/null; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    { "${as_root[@]}" apt-get update -q && "${as_root[@]}" apt-get install -q -y g++; } ||
        { echo "fuzz: libFuzzer is made with a C++ compiler; install g++" >&2 && exit 1; }
fi
# Builds libFuzzer itself, if it has not been built before.
cargo build --quiet --manifest-path tests/fuzz/engine/Cargo.toml --target-dir target/fuzz/engine
engine=$(ls target/fuzz/engine/debug/build/libfuzzer-sys-*/out/libfuzzer.a | head -n 1)
FUZZ_ENGINE="$PWD/${engine%/*}" RUSTC_WRAPPER="$PWD/tests/fuzz/rustc.sh" \
    cargo build --manifest-path tests/fuzz/Cargo.toml --target-dir target
fuzzer=target/debug/quorapay-fuzz

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for folder in tests/fuzz/corpus/*/; do targets+=("$(basename "$folder")"); done
fi
share=$((seconds / ${#targets[@]}))
[ "$share" -ge 1 ] || share=1

mkdir -p target/fuzz/broken
for target in "${targets[@]}"; do
    grown=target/fuzz/$target
    corpus=tests/fuzz/corpus/$target
    mkdir -p "$grown"
    log=target/fuzz/$target.log
    if ! FUZZ_TARGET=$target "$fuzzer" "$grown" "$corpus" -dict=tests/fuzz/words -max_total_time="$share" -seed="${SEED:-0}" -timeout=10 \
        -rss_limit_mb=1024 -max_len=4096 -artifact_prefix="target/fuzz/broken/$target-" -print_final_stats=1 \
        >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "fuzz: $target broke a promise; again with: FUZZ_TARGET=$target $fuzzer target/fuzz/broken/$target-..."
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
    echo "fuzz: $target: $runs runs in ${share}s, ${coverage:-cov: 0}, nothing found"
done
