#!/usr/bin/env bash
# Installs torch, torchvision and what only they pull in, for the `python` that comes first on PATH.
#
#   install_torch.sh REQUIREMENTS [INDEX]
#
# REQUIREMENTS is the folder of torch.in, torch.txt and torch-needs.txt. Without INDEX everything
# comes from the ordinary index, by hash. INDEX is a URL or a folder of wheels: torch and torchvision
# then come from it, whose builds and hashes the lock cannot know, and the rest still comes by hash.
set -euo pipefail

requirements=${1:?usage: install_torch.sh REQUIREMENTS [INDEX]}
index=${2:-}

install() {
  python -m pip install --no-deps --only-binary :all: "$@"
}

if [[ -z $index ]]; then
  install --require-hashes -r "$requirements/torch.txt"
  exit
fi
if [[ $index == *://* ]]; then
  install --index-url "$index" -r "$requirements/torch.in"
elif [[ -d $index ]]; then
  install --no-index --find-links "$index" -r "$requirements/torch.in"
else
  echo "install_torch.sh: TORCH_INDEX '$index' is neither a URL nor a folder that is there;" \
    "for a folder of wheels, name it torch-index and put it beside the Dockerfile" >&2
  exit 2
fi
install --require-hashes -r "$requirements/torch-needs.txt"
