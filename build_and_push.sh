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

show() { # prints the command with the quotes that it needs
  local word line=()
  for word in "$@"; do
    [[ $word =~ ^[[:alnum:]_./:=@,+-]+$ ]] || word=${word@Q}
    line+=("$word")
  done
  echo "${line[*]}"
}

explain() { # explain WHAT_FAILED ITS_WORDS: the cause in a line, and what would work
  local fix
  case $2 in
    *"Unable to locate credentials"* | *"config profile"*)
      fix='give credentials: aws configure, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY' ;;
    *ExpiredToken* | *"token included in the request is expired"* | *"SSO session"*)
      fix='the credentials have expired: log in again (aws sso login, or new keys)' ;;
    *InvalidClientTokenId* | *UnrecognizedClient* | *SignatureDoesNotMatch* | *InvalidSignature*)
      fix='the keys are wrong, or of another partition than the region: look at `aws configure list`' ;;
    *AccessDenied* | *UnauthorizedOperation* | *"not authorized to perform"*)
      fix="allow the action that is named to this user or role, on repository $name" ;;
    *ImageTagAlreadyExists* | *"tag is immutable"*)
      fix='tags of this repository never move: push under another TAG, or leave it out for a unique one' ;;
    *"no basic auth credentials"* | *"authorization token has expired"* | *"denied: "* | *[Uu]nauthorized*)
      fix="the registry has refused the login: may this user push to $name (ecr:PutImage, ecr:InitiateLayerUpload)?" ;;
    *"Could not connect to the endpoint"* | *"no such host"* | *"i/o timeout"* | *"connection refused"*)
      fix="is $region a region, and can this machine reach it (proxy, VPC endpoints)?" ;;
    *"no space left on device"*) fix='the disk is full: docker system prune' ;;
    *"Cannot connect to the Docker daemon"*) fix='start Docker' ;;
    *) fix='see the words above' ;;
  esac
  printf 'build_and_push.sh: %s failed\n  %s\n' "$1" "$fix" >&2
  exit 1
}

attempt() { # attempt WHAT COMMAND...: a failure is shown in its own words, and explained
  local what=$1
  shift
  [[ $dry_run == no ]] || { show "$@" && return; }
  { "$@" 2>&1 >&3 | tee "$scratch/words" >&2; } 3>&1 || explain "$what" "$(<"$scratch/words")"
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
  show aws sts get-caller-identity --query Account --output text
else
  for program in aws docker; do
    command -v "$program" >/dev/null || refuse "$program is not installed" "install it, or try --dry-run"
  done
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  attempt 'asking the Docker engine' docker info >/dev/null
  region=${region:-$(aws configure get region || true)}
  [[ -n $region ]] || refuse "no region" "export AWS_REGION=us-west-2, or: aws configure set region us-west-2"
  account=$(attempt 'asking for the account' \
    aws sts get-caller-identity --region "$region" --query Account --output text)
fi
domain=amazonaws.com
[[ $region != cn-* ]] || domain=amazonaws.com.cn
registry=$account.dkr.ecr.$region.$domain
uri=$registry/$name:$tag
((${#uri} <= 255)) || refuse "$uri has ${#uri} characters" "255 is the most that a job takes: shorten NAME or TAG"

create=(aws ecr create-repository --region "$region" --repository-name "$name"
  --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true)
# an endpoint that scales out pulls its image again: what has a tag may be live, and stays
selection='{"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}'
policy='{"rules": [{"rulePriority": 1, "selection": '$selection', "action": {"type": "expire"}}]}'
lifecycle=(aws ecr put-lifecycle-policy --region "$region" --repository-name "$name"
  --lifecycle-policy-text "$policy")
if [[ $dry_run == yes ]]; then
  show aws ecr describe-repositories --region "$region" --repository-names "$name"
  echo '# and where that finds none:'
  show "${create[@]}"
  show "${lifecycle[@]}"
elif ! found=$(aws ecr describe-repositories --region "$region" --repository-names "$name" 2>&1); then
  if [[ $found != *RepositoryNotFoundException* ]]; then
    echo "$found" >&2
    explain 'looking for the repository' "$found"
  fi
  attempt 'creating the repository' "${create[@]}" >/dev/null
  attempt 'setting its lifecycle policy' "${lifecycle[@]}" >/dev/null
  echo "created repository $name: scanned on push, tags that never move, untagged images expire"
elif [[ $found =~ (^|[^A-Z])MUTABLE ]]; then
  echo "note: tags of repository $name may move: aws ecr put-image-tag-mutability --region $region" \
    "--repository-name $name --image-tag-mutability IMMUTABLE" >&2
fi

if [[ -n ${BUILT_IMAGE:-} ]]; then
  attempt tagging docker tag "$BUILT_IMAGE" "$uri"
else
  read -r -a build_args <<<"${BUILD_ARGS:-}"
  build=(docker build)
  # the platform refuses an OCI index, which is what attestations and OCI media types make of it
  if docker buildx version >/dev/null 2>&1; then
    build=(docker buildx build --provenance=false --sbom=false --output type=docker)
  fi
  attempt building "${build[@]}" --platform "$platform" --tag "$uri" --build-arg "REVISION=$commit" \
    --build-arg "CREATED=$created" ${build_args[@]+"${build_args[@]}"} .
fi

if [[ $dry_run == yes ]]; then
  show docker image inspect --format '{{.Os}}/{{.Architecture}}' "$uri"
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
  password=$(attempt 'asking for the password' aws ecr get-login-password --region "$region")
  attempt 'logging in' docker login --username AWS --password-stdin "$registry" <<<"$password" >/dev/null
fi
attempt pushing docker push "$uri"

if [[ $dry_run == yes ]]; then
  show docker image inspect --format '{{join .RepoDigests "\n"}}' "$uri"
else
  digest=$(docker image inspect --format '{{join .RepoDigests "\n"}}' "$uri" | grep -F "$registry/$name@" | tail -n 1)
  echo "pushed $uri"
  echo "digest $digest"
fi
