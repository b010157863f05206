#!/usr/bin/env bash
# Says what was wrong with a job, by the image's rules over what the job has left.
#
#   local_test/diagnose.sh [BASE] [-- OPTION ...]
#
#   BASE    where train.sh left the job's /opt/ml (default local_test/ml), or any job's output folder
#   OPTION  of `diagnose`, e.g. --rules overfit,dead_relu or --list
#
# Ends with 0 where no issue was found, 3 where one was, 2 where there is nothing to look at.
#
# Environment:
#   IMAGE           default image-classification:latest
#   DOCKER_OPTIONS  more options, e.g. '--user 12345 --read-only --tmpfs /tmp'
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=${IMAGE:-image-classification:latest}

usage() {
  printf 'diagnose.sh: %s\nusage: local_test/diagnose.sh [BASE] [-- OPTION ...]\n' "$1" >&2
  exit 2
}

base=$here/ml
if (($#)) && [[ $1 != -- ]]; then
  base=$1
  shift
fi
if (($#)) && [[ $1 != -- ]]; then usage "expected at most BASE, and options after --"; fi
if (($#)); then shift; fi
[[ -d $base ]] || usage "'$base' is no folder; train first: local_test/train.sh DATA_FOLDER"
docker image inspect "$image" >/dev/null 2>&1 || usage "no image '$image': build it with \`make image\`, or set IMAGE"
base=$(cd "$base" && pwd)

read -r -a options <<<"${DOCKER_OPTIONS:-}"
# with paths as they are on this machine; the exit code is diagnose's own
docker run --rm --network none --volume "$base:/opt/ml" \
  ${options[@]+"${options[@]}"} "$image" diagnose "$@" |
  while IFS= read -r line; do printf '%s\n' "${line//\/opt\/ml/"$base"}"; done
