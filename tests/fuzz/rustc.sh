#!/usr/bin/env bash
# Stands before rustc: lets libFuzzer see the branches of this project's own code, and leaves the dependencies as they
# are built for everybody else, so that they need not be built again. All of it works with a stable compiler.
rustc=$1
shift
coverage=-Cllvm-args=-sanitizer-coverage
see=(-Cpasses=sancov-module "$coverage-level=4" "$coverage-inline-8bit-counters" "$coverage-pc-table"
    "$coverage-trace-compares")
case "${CARGO_PKG_NAME:-}" in
quorapay-core | quorapay-api | quorapay-node) exec "$rustc" "$@" "${see[@]}" ;;
quorapay-fuzz) exec "$rustc" "$@" "${see[@]}" -L "$FUZZ_ENGINE" -lstatic=fuzzer -lstdc++ ;;
esac
exec "$rustc" "$@"
