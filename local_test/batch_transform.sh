#!/usr/bin/env bash
# A batch transform job in the image, over a folder of photos or of files of JSON Lines.
#
#   local_test/batch_transform.sh DATA_FOLDER [BASE] [-- OPTION ...]
#
#   DATA_FOLDER  every file in it is sent, those of its sub-folders too
#   BASE         where train.sh left the job's /opt/ml (default local_test/ml); the outputs come
#                to BASE/transform, one NAME.out a file
#   OPTION       --split line, --content-type, --accept, --strategy, --max-payload MB,
#                --max-concurrent REQUESTS, as CreateTransformJob has them; --help lists all
#
# Environment:
#   IMAGE           default image-classification:latest
#   DOCKER_OPTIONS  more options, e.g. '--cpus 2 --memory 2g'
#   WAIT_SECONDS    for the first good answer of /ping (default 480, the platform's limit)
#
# Ends with 1 where a file has no output; the summary names each, with the reason.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=${IMAGE:-image-classification:latest}

usage() {
  printf 'batch_transform.sh: %s\nusage: local_test/batch_transform.sh DATA_FOLDER [BASE] [-- OPTION ...]\n' "$1" >&2
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
base=${folders[1]:-$here/ml}
[[ -d $base/model ]] || usage "no model in '$base': train one with local_test/train.sh DATA_FOLDER $base"
docker image inspect "$image" >/dev/null 2>&1 || usage "no image '$image': build it with \`make image\`, or set IMAGE"

# the container has the variables that the platform sets: the last three only if the job says so
environment=(--env SAGEMAKER_BATCH=true)
options=("$@")
for ((at = 0; at + 1 < ${#options[@]}; at++)); do
  value=${options[at + 1]}
  case ${options[at]} in
    --max-payload) environment+=(--env "SAGEMAKER_MAX_PAYLOAD_IN_MB=$value") ;;
    --max-concurrent) environment+=(--env "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS=$value") ;;
    --strategy) environment+=(--env "SAGEMAKER_BATCH_STRATEGY=$(tr 'a-z-' 'A-Z_' <<<"$value")") ;;
  esac
done

model=$(cd "$base/model" && pwd)
read -r -a more <<<"${DOCKER_OPTIONS:-}"
container=$(docker run --detach --stop-timeout 30 --shm-size 64m --publish 127.0.0.1::8080 \
  --volume "$model:/opt/ml/model:ro" "${environment[@]}" ${more[@]+"${more[@]}"} "$image" serve)
trap 'docker rm --force "$container" >/dev/null' EXIT
url=http://$(docker port "$container" 8080/tcp | head -n 1)

give_up() {
  docker logs "$container" >&2
  echo "batch_transform.sh: $1" >&2
  exit 1
}

deadline=$((SECONDS + ${WAIT_SECONDS:-480}))
until curl --silent --fail --max-time 2 --output /dev/null "$url/ping"; do
  [[ $(docker inspect --format '{{.State.Running}}' "$container") == true ]] ||
    give_up "the server ended with exit code $(docker inspect --format '{{.State.ExitCode}}' "$container")"
  ((SECONDS < deadline)) || give_up "/ping gave no 200 within ${WAIT_SECONDS:-480} s"
  sleep 0.1
done

mkdir -p "$base/transform"
python3 "$here/batch_transform.py" "${folders[0]}" "$base/transform" --url "$url" ${options[@]+"${options[@]}"}
