#!/usr/bin/env bash
# Trains on a folder of photos in the image, as a training job does.
#
#   local_test/train.sh DATA_FOLDER [BASE] [-- NAME=VALUE ...]
#
#   DATA_FOLDER  one folder per class; or train/, valid/ and test/ with those in them
#   BASE         where the job's /opt/ml lies (default local_test/ml); an earlier job's is replaced
#   NAME=VALUE   hyperparameters; the job gets every value as a string, as the platform sends them
#
# Environment:
#   IMAGE           default image-classification:latest
#   NETWORK         default none, as with network isolation; `bridge` to download weights
#   RESUME          1 keeps the checkpoints, as a restarted spot job finds them
#   DOCKER_OPTIONS  more options, e.g. '--gpus all' or '--user 12345 --read-only --tmpfs /tmp'
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=${IMAGE:-image-classification:latest}

usage() {
  printf 'train.sh: %s\nusage: local_test/train.sh DATA_FOLDER [BASE] [-- NAME=VALUE ...]\n' "$1" >&2
  exit 2
}

folders=()
while (($#)) && [[ $1 != -- ]]; do
  folders+=("$1")
  shift
done
if (($#)); then shift; fi
((${#folders[@]} == 1 || ${#folders[@]} == 2)) || usage "expected DATA_FOLDER and perhaps BASE"
[[ -d ${folders[0]} ]] || usage "'${folders[0]}' is no folder"
for pair in "$@"; do
  [[ $pair == ?*=* ]] || usage "'$pair' is not NAME=VALUE"
done
data=$(cd "${folders[0]}" && pwd)
base=${folders[1]:-$here/ml}
config=$base/input/config
if [[ -d $base && -n $(ls -A "$base") && ! -f $config/hyperparameters.json ]]; then
  usage "'$base' holds something else than an earlier job; name a new folder"
fi
docker image inspect "$image" >/dev/null 2>&1 || usage "no image '$image': build it with \`make image\`, or set IMAGE"

mkdir -p "$config" "$base/input/data/training"
base=$(cd "$base" && pwd)
config=$base/input/config
# in the container, as an earlier job's files may belong to another user
old=(/opt/ml/model /opt/ml/output)
[[ ${RESUME:-} == 1 ]] || old+=(/opt/ml/checkpoints)
docker run --rm --network none --volume "$base:/opt/ml" --entrypoint /bin/rm "$image" -rf "${old[@]}"
mkdir -p "$base/model" "$base/output" "$base/checkpoints"
# the job may run as any user; on the platform it is root
chmod a+rwx "$base/model" "$base/output" "$base/checkpoints" 2>/dev/null || true

python3 - "$config" "$@" <<'PYTHON'
import json
import pathlib
import sys

folder, *pairs = sys.argv[1:]
files = {
    "hyperparameters": dict(pair.split("=", 1) for pair in pairs),
    "inputdataconfig": {
        "training": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
    },
    "resourceconfig": {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "network_interface_name": "eth0",
        "current_instance_type": "local",
        "current_group_name": "homogeneousCluster",
    },
}
for name, content in files.items():
    pathlib.Path(folder, f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
PYTHON

read -r -a options <<<"${DOCKER_OPTIONS:-}"
status=0
docker run --rm --stop-timeout 120 --network "${NETWORK:-none}" --shm-size 64m \
  --env TRAINING_JOB_NAME=local-test \
  --volume "$base:/opt/ml" --volume "$data:/opt/ml/input/data/training:ro" \
  ${options[@]+"${options[@]}"} "$image" train || status=$?

echo
echo "exit code: $status"
if [[ -s $base/output/failure ]]; then
  echo "failure reason:"
  sed 's/^/  /' "$base/output/failure"
  echo
fi
python3 - "$base" <<'PYTHON'
import json
import pathlib
import sys

base = pathlib.Path(sys.argv[1])


def numbers(value, name=""):
    """(name, number) of an object, those of the objects within it included."""
    for key, item in value.items():
        if isinstance(item, (int, float)):
            yield f"{name}{key}", item
        elif isinstance(item, dict):
            yield from numbers(item, f"{name}{key}.")


lines = base / "output" / "data" / "metrics.jsonl"
if lines.is_file() and lines.read_text().strip():
    print("last epoch:")
    for key, item in numbers(json.loads(lines.read_text().splitlines()[-1])):
        print(f"  {key:<32} {item:g}")
model = base / "model" / "model.json"
if model.is_file():
    print("model:")
    for key, item in numbers(json.loads(model.read_text()).get("metrics", {})):
        print(f"  {key:<32} {item:g}")
files = [path for name in ("model", "output") for path in sorted((base / name).rglob("*"))]
print(f"files under {base}:")
for path in files:
    if path.is_file():
        print(f"  {str(path.relative_to(base)):<48} {path.stat().st_size:>12,}")
PYTHON
exit "$status"
