#!/usr/bin/env bash
# Prints what is in the image, and in the model that a job left.
#
#   local_test/inspect.sh [BASE]
#
#   BASE   where train.sh left the job's /opt/ml (default local_test/ml)
#
# IMAGE names the image (default image-classification:latest).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=${IMAGE:-image-classification:latest}
base=${1:-$here/ml}

usage() {
  printf 'inspect.sh: %s\nusage: local_test/inspect.sh [BASE]\n' "$1" >&2
  exit 2
}

(($# <= 1)) || usage "expected at most BASE"
docker image inspect "$image" >/dev/null 2>&1 || usage "no image '$image': build it with \`make image\`, or set IMAGE"

echo "image: $image"
docker image inspect --format '  id        {{.Id}}
  made      {{.Created}}
  platform  {{.Os}}/{{.Architecture}}
  bytes     {{.Size}}' "$image"

echo "programs:"
# an unknown word prints the list, and ends with 2
docker run --rm --network none "$image" programs 2>&1 | sed -n 's/^  /  /p' || true

echo "versions:"
docker run --rm --network none --entrypoint python --interactive "$image" -P - <<'PYTHON'
import platform
from importlib.metadata import version

from container.requirements.lockfile import direct

print(f"  {'python':<20} {platform.python_version()}")
for lock in ("torch", "app", "platform"):
    for name in direct(lock):
        print(f"  {name:<20} {version(name)}")
PYTHON

echo "layers, the last one first:"
docker history --no-trunc --format '{{.Size}}\t{{.CreatedBy}}' "$image" |
  # without what the builder puts before a command, its hashes, and runs of blanks
  sed -E 's,\|[0-9]+ ([A-Z_]+=[^ ]* )*,,; s,/bin/sh -c (#\(nop\) +)?,,; s/:[0-9a-f]{64}//; s/ +/ /g' |
  awk -F '\t' '$1 != "0B" { printf "  %8s  %.88s\n", $1, $2 }'

model=$base/model/model.json
if [[ ! -f $model ]]; then
  echo "model: none in $base"
  exit
fi
echo "model: $model"
python3 - "$model" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    model = json.load(file)
for key, value in model.items():
    text = value if isinstance(value, str) else json.dumps(value)
    print(f"  {key:<20} {text if len(text) <= 100 else text[:99] + '…'}")
PYTHON
