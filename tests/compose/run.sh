#!/usr/bin/env bash
# Tests the stack of docker-compose.yml: builds the image, starts the stack, breaks it in every way under load, checks what the
# clients were told, and removes everything but the images. Installs docker and starts its daemon if it must and can.
#
# QUORAPAY_IMAGE=name tests that image, and builds none.
#
# It takes the stack's names and ports for itself, and refuses to begin if a stack is there or has left volumes. What a test that was
# killed has left is removed first.
set -euo pipefail
cd "$(dirname "$0")/../.."
state=target/compose
compose=(docker-compose)
project=quorapay-test
stack=(--env-file "$state/env" --project-name "$project")
build=${QUORAPAY_IMAGE:+no}
export QUORAPAY_TEST_STACK=true QUORAPAY_IMAGE=${QUORAPAY_IMAGE:-quorapay:test}
QUORAPAY_REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)
export QUORAPAY_REVISION

fail() { echo "test-compose: $*" >&2 && exit 1; }

# Containers, volumes and networks with the stack's fixed names, whoever made them.
left() {
    docker ps --all --format 'container {{.Names}}' --filter name='^/?quorapay-'
    docker volume ls --format 'volume {{.Name}}' --filter name='^quorapay-'
    docker network ls --format 'network {{.Name}}' --filter name='^quorapay$'
}

# Removes what this test has made: what belongs to its project, and the helper containers of faults, which belong to none.
remove_own() {
    docker ps --all --quiet --filter label=quorapay.fault --filter "label=quorapay.fault-project=$project" \
        | xargs --no-run-if-empty docker rm --force >/dev/null
    "${compose[@]}" "${stack[@]}" down --volumes --remove-orphans --timeout 10
}

end() {
    local ended=$?
    # Another signal must not end this half way.
    trap - EXIT
    trap '' INT TERM
    if [ "${ours:-no}" = yes ]; then
        [ "$ended" -eq 0 ] || "${compose[@]}" "${stack[@]}" logs --tail 30 2>&1 || true
        remove_own || ended=1
        [ -z "$(left)" ] || { echo "test-compose: this is left: $(left | paste -sd' ')" >&2 && ended=1; }
    fi
    bash tests/compose/docker.sh stop "$state"
    if [ "$ended" -eq 0 ] || [ ! -e "$state/report" ]; then
        rm -rf "$state"
    else
        echo "test-compose: histories, ledgers and logs, as far as there are any, are in $state/report" >&2
    fi
    exit "$ended"
}
trap end EXIT
trap 'exit 130' INT TERM

bash tests/compose/docker.sh stop "$state"
rm -rf "$state/report" && mkdir -p "$state"
# Nothing of .env.
: >"$state/env"
bash tests/compose/docker.sh start "$state" || fail "there is no docker to test with, for the reason above"
docker compose version >/dev/null 2>&1 && compose=(docker compose)
[ -z "$(docker ps --all --quiet --filter "label=com.docker.compose.project=$project")" ] || remove_own
[ -z "$(left)" ] || fail "another stack is in the way, and nothing is done to it: $(left | paste -sd' ')"
bash tests/compose/docker.sh images || fail "an image is missing, for the reason above"

[ "$build" = no ] || "${compose[@]}" "${stack[@]}" build node1
docker build --tag quorapay-faults runbooks/faults
cargo test --workspace --test it --no-run
[ -z "$(left)" ] || fail "another stack has come up meanwhile, and nothing is done to it: $(left | paste -sd' ')"
ours=yes
"${compose[@]}" "${stack[@]}" up --detach
cargo test --workspace --test it on_containers -- --ignored --nocapture
