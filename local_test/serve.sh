#!/usr/bin/env bash
# Serves a trained model in the image, as an endpoint does, and a page to try it; comes back when the
# server is ready.
#
#   local_test/serve.sh [BASE] [PORT]
#
#   BASE  where train.sh left the job's /opt/ml (default local_test/ml)
#   PORT  on this machine (default 8080)
#
# Environment:
#   IMAGE           default image-classification:latest
#   DOCKER_OPTIONS  more options, e.g. '--cpus 2 --env TOP_K=3'
#   WAIT_SECONDS    for the first good answer of /ping (default 480, the platform's limit)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=${IMAGE:-image-classification:latest}
base=${1:-$here/ml}
port=${2:-8080}

usage() {
  printf 'serve.sh: %s\nusage: local_test/serve.sh [BASE] [PORT]\n' "$1" >&2
  exit 2
}

(($# <= 2)) || usage "expected at most BASE and PORT"
[[ $port =~ ^[0-9]+$ ]] || usage "'$port' is no port"
[[ -d $base/model ]] || usage "no model in '$base': train one with local_test/train.sh DATA_FOLDER $base"
docker image inspect "$image" >/dev/null 2>&1 || usage "no image '$image': build it with \`make image\`, or set IMAGE"

model=$(cd "$base/model" && pwd)
container=local-test-serve-$port
docker rm --force "$container" >/dev/null 2>&1 || true
read -r -a options <<<"${DOCKER_OPTIONS:-}"
docker run --detach --name "$container" --stop-timeout 30 --shm-size 64m \
  --env PAGE=true --publish "127.0.0.1:$port:8080" --volume "$model:/opt/ml/model:ro" \
  ${options[@]+"${options[@]}"} "$image" serve >/dev/null

give_up() {
  docker logs "$container" >&2
  echo "serve.sh: $1" >&2
  docker rm --force "$container" >/dev/null
  exit 1
}

deadline=$((SECONDS + ${WAIT_SECONDS:-480}))
until curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$port/ping"; do
  [[ $(docker inspect --format '{{.State.Running}}' "$container") == true ]] ||
    give_up "the server ended with exit code $(docker inspect --format '{{.State.ExitCode}}' "$container")"
  ((SECONDS < deadline)) || give_up "/ping gave no 200 within ${WAIT_SECONDS:-480} s"
  sleep 0.1
done

cat <<TEXT
ready: http://127.0.0.1:$port, in the container $container; that address has a page to try the model
  curl -H 'Content-Type: image/jpeg' --data-binary @PHOTO http://127.0.0.1:$port/invocations
  docker logs $container
  docker stop --time 30 $container
TEXT
