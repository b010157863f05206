# make demo     trains on made-up photos, serves, classifies: no Docker, no account, no GPU
# make test     every proof at a small size; image tests too where a Docker engine answers
# make help     all targets

.SHELLFLAGS := -eu -o pipefail -c
SHELL := bash

PYTHON ?= python3.11
VENV ?= .venv
IMAGE ?= image-classification:latest
TORCH_INDEX ?=
BUILD_OPTIONS ?= --network host
REQUIREMENTS := container/requirements
SDKS := .venv-sdk-v2 .venv-sdk-v3

# tools and real photos in a folder beside this one, where it is there; the tests that need them say
# so when it is not
export SHARED_TOOLS ?= $(realpath ../shared/tools)
export DATA_DIR ?= $(realpath ../shared/data)
export IMAGE
export REQUIRE_DOCKER
export REQUIRE_CHROMIUM
export REQUIRE_COMPOSE

RUN := $(VENV)/bin/python
# tests side by side: most wait for a process to start; those of the image follow each other
WORKERS ?= 2
# a worker that dies ends the run: replaced, the others were seen to wait for ever
PYTEST := $(RUN) -m pytest -n $(WORKERS) --dist loadscope --max-worker-restart=0

.PHONY: help demo tune notebook test soak image image-demo sdk peers lint lock third-party venv clean

help:
	@sed -n '1,3p' Makefile; grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo ## the main job on this machine; DATA=folder takes your own photos
	$(RUN) -m local_test.demo $(if $(DATA),--data "$(DATA)") $(DEMO_OPTIONS)

tune: $(VENV)/.demo ## a search on this machine; DATA=folder, SPEC=file of ranges; goes on if stopped
	$(RUN) -m local_test.tune $(if $(DATA),--data "$(DATA)") $(if $(SPEC),--spec "$(SPEC)") $(TUNE_OPTIONS)

notebook: $(VENV)/.test ## runs local_test/train_and_deploy.ipynb and keeps its outputs
	$(RUN) -m local_test.notebook $(NOTEBOOK_OPTIONS)

test: $(VENV)/.test ## every proof at its documented small size
	@bash tests/install_chromium.sh
	$(MAKE) --no-print-directory maybe-image
	$(PYTEST) $(TESTS)

soak: export SOAK = 1
soak: export FUZZ_EXAMPLES = 2000
soak: WORKERS = 0
soak: $(VENV)/.test ## the same tests at full size; takes hours
	@bash tests/install_chromium.sh
	$(MAKE) --no-print-directory maybe-image
	$(PYTEST) --timeout=14400 $(TESTS)

# the image is built where an engine answers; the tests say what its absence means
.PHONY: maybe-image
maybe-image:
	@if docker info >/dev/null 2>&1; then $(MAKE) --no-print-directory image sdk && bash tests/install_compose.sh; \
	else echo "no Docker engine answers: image tests are skipped (REQUIRE_DOCKER=1 makes that a failure)"; fi

image: ## builds the Docker image as IMAGE; TORCH_INDEX chooses another build of torch
	docker build $(BUILD_OPTIONS) --build-arg TORCH_INDEX="$(TORCH_INDEX)" -t "$(IMAGE)" .

image-demo: image $(VENV)/.demo ## the demo through docker run
	$(RUN) -m local_test.demo --image "$(IMAGE)" $(if $(DATA),--data "$(DATA)") $(DEMO_OPTIONS)

sdk: $(SDKS:=/.made) ## the environments of the SDK's examples, v2 and v3

peers: .venv-peers/.made ## the environment of the servers that ours is measured against

lint: $(VENV)/.test ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

lock: $(VENV)/.test ## writes the lock files anew from the .in files
	$(RUN) $(REQUIREMENTS)/lock.py

third-party: image ## writes the list of what the image holds, and under which licences
	docker run --rm --volume "$(CURDIR):/opt/program:ro" --entrypoint python "$(IMAGE)" \
		-P -m container.requirements.third_party > .third-party && mv .third-party THIRD_PARTY.md

venv: $(VENV)/.test ## the environment of the tests

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python $(REQUIREMENTS)/app.txt $(REQUIREMENTS)/torch.txt $(REQUIREMENTS)/torch.in
	PATH="$(abspath $(VENV))/bin:$$PATH" bash container/install_torch.sh $(REQUIREMENTS) "$(TORCH_INDEX)"
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(REQUIREMENTS)/app.txt
	echo "$(CURDIR)" > "$$($(RUN) -c 'import site; print(site.getsitepackages()[0])')/project.pth"
	touch $@

$(VENV)/.test: $(VENV)/.demo $(REQUIREMENTS)/develop.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(REQUIREMENTS)/develop.txt
	$(RUN) -m pip check
	touch $@

$(SDKS:=/.made): .venv-sdk-%/.made: local_test/sdk/requirements-%.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--no-deps --no-compile -r $<
	touch $@

# torch and what else the project has locked come from its own environment: all sides run the same
.venv-peers/.made: benchmarks/peers/requirements.txt $(VENV)/.test
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--no-deps --no-compile -r $<
	$(RUN) -c 'import sys; print(*(each for each in sys.path if "site-packages" in each), sep="\n")' \
		> "$$($(@D)/bin/python -c 'import site; print(site.getsitepackages()[0])')/shared.pth"
	touch $@

clean: ## removes what the targets above made
	rm -rf $(VENV) $(SDKS) .venv-peers demo notebook tuning build .pytest_cache .mypy_cache .ruff_cache .hypothesis
