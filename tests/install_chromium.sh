#!/usr/bin/env bash
# Debian's Chromium for the tests that look at the report in a browser; says so where it cannot be had.
set -euo pipefail

found() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }

missing() {
    echo "no Chromium ($1): tests of the report's page are skipped (REQUIRE_CHROMIUM=1 makes that a failure)"
    exit 0
}

found && exit 0
command -v apt-get >/dev/null || missing "no apt-get"
[[ "$(id -u)" == 0 ]] || missing "not root"
echo "installing Chromium"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core; } >"$log" 2>&1; then
    missing "$(tail -n 1 "$log")"
fi
found || missing "apt-get installed none"
