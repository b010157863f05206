#!/usr/bin/env bash
# Debian's Docker Compose, which the SDK's local mode starts containers with; says so where it cannot
# be had.
set -euo pipefail

found() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

missing() {
    echo "no Docker Compose ($1): tests of the SDK's local mode are skipped (REQUIRE_COMPOSE=1 makes that a failure)"
    exit 0
}

found && exit 0
command -v apt-get >/dev/null || missing "no apt-get"
[[ "$(id -u)" == 0 ]] || missing "not root"
echo "installing Docker Compose"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install --yes --no-install-recommends docker-compose; } >"$log" 2>&1; then
    missing "$(tail -n 1 "$log")"
fi
found || missing "apt-get installed none"
