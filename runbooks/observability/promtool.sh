#!/usr/bin/env bash
# Checks and tests the alert rules, and checks Prometheus' configuration. Installs promtool from Debian if it is missing.
# `promtool.sh install` only installs it, and Prometheus itself with it.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v promtool >/dev/null || { [[ ${1:-} == install ]] && ! command -v prometheus >/dev/null; }; then
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "Prometheus is missing: install Prometheus (Debian: apt-get install prometheus)" >&2
    exit 1
  fi
  # Its service is not wanted, only the programs.
  apt-get update -qq
  work=$(mktemp -d)
  chmod 755 "$work"
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -qq prometheus && dpkg-deb --extract prometheus_*.deb .)
  install "$work/usr/bin/promtool" "$work/usr/bin/prometheus" /usr/local/bin/
fi
[[ ${1:-} != install ]] || exit 0
promtool check rules alerts.yml
promtool test rules alerts_test.yml
# The configuration names the rules where the container has them.
checked=$(mktemp -d)
trap 'rm -rf "$checked" "${work:-}"' EXIT
sed "s#/etc/prometheus/#$PWD/#" prometheus.yml > "$checked/prometheus.yml"
promtool check config "$checked/prometheus.yml"
