#!/usr/bin/env bash
# Installs the tools that some faults of `quorapay chaos` need: strace (failing syncs and writes), faketime (clocks),
# ip and iptables (network namespaces), mkfs.ext4 (a file system for each node), xfs_io (power losses). Without them these faults are skipped,
# and the report says so.
set -euo pipefail

declare -A package=([strace]=strace [faketime]=faketime [ip]=iproute2 [iptables]=iptables [mkfs.ext4]=e2fsprogs [xfs_io]=xfsprogs)

missing() {
    local tool
    for tool in "${!package[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || echo "${package[$tool]}"
    done
}

case "${1:-help}" in
where)
    wanted=$(missing)
    [ -z "$wanted" ] || { echo "missing:" $wanted && exit 1; }
    ;;
install)
    mapfile -t wanted < <(missing)
    [ "${#wanted[@]}" -gt 0 ] || exit 0
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "run as root: apt-get install ${wanted[*]}" >&2 && exit 1; }
        as_root=(sudo)
    fi
    command -v apt-get >/dev/null || { echo "install these with your system's packages: ${wanted[*]}" >&2 && exit 1; }
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${wanted[@]}" >&2
    ;;
*)
    echo "usage: tools.sh install | where"
    ;;
esac
