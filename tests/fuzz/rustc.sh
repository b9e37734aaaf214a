#!/usr/bin/env bash
# Wraps rustc: instruments only this project's own code for libFuzzer. The dependencies keep their usual flags, so that
# they need not be rebuilt. Works with the stable compiler.
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
