#!/usr/bin/env bash
# Asks the server that serve.sh started for the label of every photo; prints a table.
#
#   local_test/predict.sh PHOTO... [--port PORT]
#
# Ends with 1 where a photo got no label; its row says why.
set -euo pipefail

usage() {
  printf 'predict.sh: %s\nusage: local_test/predict.sh PHOTO... [--port PORT]\n' "$1" >&2
  exit 2
}

port=8080
photos=()
while (($#)); do
  case $1 in
    --port)
      [[ ${2:-} =~ ^[0-9]+$ ]] || usage "--port '${2:-}' is no port"
      port=$2
      shift 2
      ;;
    --*) usage "unknown option '$1'" ;;
    *)
      [[ -f $1 ]] || usage "'$1' is no file"
      photos+=("$1")
      shift
      ;;
  esac
done
((${#photos[@]})) || usage "expected at least one PHOTO"
url=http://127.0.0.1:$port
curl --silent --max-time 10 --output /dev/null "$url/ping" ||
  usage "no server at $url: start one with local_test/serve.sh BASE $port"

answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
for number in "${!photos[@]}"; do
  # a connection that fails has the status 000 and no body
  curl --silent --max-time 70 --header 'Content-Type: application/x-image' \
    --header 'Accept: application/json' --data-binary "@${photos[$number]}" \
    --output "$answers/$number" --write-out '%{http_code}' "$url/invocations" \
    >"$answers/$number.status" || true
done

python3 - "$answers" "${photos[@]}" <<'PYTHON'
import json
import pathlib
import sys

answers, *photos = sys.argv[1:]
failed = 0
width = max(len(photo) for photo in photos)
print(f"{'photo':<{width}}  {'label':<24} probability")
for number, photo in enumerate(photos):
    status = pathlib.Path(answers, f"{number}.status").read_text().strip() or "000"
    body = pathlib.Path(answers, str(number))
    text = body.read_text(errors="replace") if body.is_file() else ""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {"error": text.strip() or "no answer"}
    if status == "200" and answer.get("predictions"):
        best = answer["predictions"][0]
        print(f"{photo:<{width}}  {best['label']:<24} {best['probability']:.4f}")
    else:
        failed += 1
        print(f"{photo:<{width}}  HTTP {status}: {answer.get('error', text)}")
print(f"{len(photos) - failed} of {len(photos)} photos have a label")
sys.exit(1 if failed else 0)
PYTHON
