#!/usr/bin/env bash
# Builds the image and pushes it to Amazon ECR; prints the digest, which is what to deploy by.
#
#   ./build_and_push.sh [--dry-run] NAME [TAG]
#
#   NAME       repository, made if it is not there
#   TAG        default: UTC time and commit, so that no push ever replaces another
#   --dry-run  prints the commands; needs no aws, no docker and no network
#
# Environment:
#   AWS_REGION   region; else AWS_DEFAULT_REGION, else the one of `aws configure`
#   PLATFORM     of the instances that run it (default linux/amd64)
#   BUILD_ARGS   options for `docker build`, e.g. '--network host --build-arg TORCH_INDEX=...'
#   BUILT_IMAGE  an image that is built already: tagged and pushed as it is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

refuse() { # refuse WHAT_IS_WRONG WHAT_WOULD_WORK
  printf 'build_and_push.sh: %s\n  %s\n' "$1" "$2" >&2
  exit 2
}

run() { # runs the command, or prints it with the quotes that it needs
  if [[ $dry_run == no ]]; then
    "$@"
    return
  fi
  local word line=()
  for word in "$@"; do
    [[ $word =~ ^[[:alnum:]_./:=@,+-]+$ ]] || word=${word@Q}
    line+=("$word")
  done
  echo "${line[*]}"
}

usage='usage: ./build_and_push.sh [--dry-run] NAME [TAG], such as ./build_and_push.sh photos'
dry_run=no
words=()
for word in "$@"; do
  case $word in
    --dry-run) dry_run=yes ;;
    -*) refuse "unknown option '$word'" "$usage" ;;
    *) words+=("$word") ;;
  esac
done
((${#words[@]} == 1 || ${#words[@]} == 2)) || refuse "expected NAME and perhaps TAG" "$usage"

name=${words[0]}
part='[a-z0-9]+([._-][a-z0-9]+)*'
[[ $name =~ ^$part(/$part)*$ && ${#name} -ge 2 && ${#name} -le 256 ]] ||
  refuse "'$name' is no repository name" \
    "2 to 256 lower-case letters and digits, with single . _ - or / between them"

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
created=$(date -u +%Y-%m-%dT%H:%M:%SZ)
tag=${words[1]:-$(tr -d ':-' <<<"$created")-$commit}
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] ||
  refuse "'$tag' is no tag" "1 to 128 letters, digits, . _ or -, the first not . or -"

platform=${PLATFORM:-linux/amd64}
[[ $platform =~ ^linux/(amd64|arm64)$ ]] ||
  refuse "PLATFORM='$platform' runs on no instance" "PLATFORM=linux/amd64, or linux/arm64 for Graviton"

region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
account=ACCOUNT # what stands for it in a dry run
if [[ $dry_run == yes ]]; then
  region=${region:-REGION}
  run aws sts get-caller-identity --query Account --output text
else
  for program in aws docker; do
    command -v "$program" >/dev/null || refuse "$program is not installed" "install it, or try --dry-run"
  done
  region=${region:-$(aws configure get region || true)}
  [[ -n $region ]] || refuse "no region" "export AWS_REGION=us-west-2, or: aws configure set region us-west-2"
  account=$(aws sts get-caller-identity --region "$region" --query Account --output text) ||
    refuse "no account: the credentials do not work" "see what \`aws sts get-caller-identity\` says"
fi
domain=amazonaws.com
[[ $region != cn-* ]] || domain=amazonaws.com.cn
registry=$account.dkr.ecr.$region.$domain
uri=$registry/$name:$tag
((${#uri} <= 255)) || refuse "$uri has ${#uri} characters" "255 is the most that a job takes: shorten NAME or TAG"

if [[ $dry_run == yes ]]; then
  run aws ecr describe-repositories --region "$region" --repository-names "$name"
  echo '# and where that finds none:'
  run aws ecr create-repository --region "$region" --repository-name "$name"
elif ! found=$(aws ecr describe-repositories --region "$region" --repository-names "$name" 2>&1); then
  [[ $found == *RepositoryNotFoundException* ]] || { echo "$found" >&2 && exit 1; }
  aws ecr create-repository --region "$region" --repository-name "$name" >/dev/null
  echo "created repository $name"
fi

if [[ -n ${BUILT_IMAGE:-} ]]; then
  run docker tag "$BUILT_IMAGE" "$uri"
else
  read -r -a build_args <<<"${BUILD_ARGS:-}"
  build=(docker build)
  # the platform refuses an OCI index, which is what attestations and OCI media types make of it
  if docker buildx version >/dev/null 2>&1; then
    build=(docker buildx build --provenance=false --sbom=false --output type=docker)
  fi
  run "${build[@]}" --platform "$platform" --tag "$uri" --build-arg "REVISION=$commit" \
    --build-arg "CREATED=$created" ${build_args[@]+"${build_args[@]}"} .
fi

if [[ $dry_run == yes ]]; then
  run docker image inspect --format '{{.Os}}/{{.Architecture}}' "$uri"
  echo "# anything but $platform is not pushed"
else
  built=$(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$uri")
  [[ $built == "$platform" ]] ||
    refuse "the image is for $built, the instances are $platform: not pushed" \
      "build it with --platform $platform, or set PLATFORM=$built for instances of that kind"
fi

if [[ $dry_run == yes ]]; then
  echo "aws ecr get-login-password --region $region |" \
    "docker login --username AWS --password-stdin $registry"
else
  aws ecr get-login-password --region "$region" |
    docker login --username AWS --password-stdin "$registry" >/dev/null
fi
run docker push "$uri"

if [[ $dry_run == yes ]]; then
  run docker image inspect --format '{{join .RepoDigests "\n"}}' "$uri"
else
  digest=$(docker image inspect --format '{{join .RepoDigests "\n"}}' "$uri" | grep -F "$registry/$name@" | tail -n 1)
  echo "pushed $uri"
  echo "digest $digest"
fi
