# Lines that begin with "#:" are what `make help` prints.

PYTHON ?= python3
UV := uv==0.13.8
VENV := .venv
MODULE := $(VENV)/bin/python -m
PORT ?= 5000

# The lock with CUDA's libraries where a driver answers, else the one without.
LOCK := $(shell nvidia-smi >/dev/null 2>&1 && echo requirements-gpu.lock || echo requirements.lock)

# Whether PORT is given: what follows hides that.
PORT_GIVEN := $(filter-out file,$(origin PORT))

# Values reach the shell as its own variables, unexpanded, never as text of a command: an apostrophe, a dollar or a
# space in a path is then harmless. ARGS and RUNS are the exceptions: several words, quoted by the shell's rules.
VALUES := ARGS FROM RUN RUNS PORT SEEDS RESUME INPUT WORKERS CHROMIUM NAME ALIAS FORMAT
$(foreach name,$(VALUES),$(if $(filter undefined,$(origin $(name))),,$(eval override $(name) := $$(value $(name)))))
export $(VALUES)

.PHONY: help setup lint test test-browser doctor ui transfer compare evaluate predict reproduce sync register serve export
.DEFAULT_GOAL := help

#: help                         this list
help:
	@sed -n 's/^#: //p' $(firstword $(MAKEFILE_LIST))

# Bytecode now, 20 seconds once: where PYTHONDONTWRITEBYTECODE is set, as in many images, all imports of a training
# would take 14 seconds in place of 4, each time.
#: setup                        make .venv with every library as locked; all targets do it when it is missing or stale
setup: $(VENV)/.installed

$(VENV)/.installed: $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "error: $(PYTHON): Python 3.11, 3.12 or 3.13 is needed; name one by PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes --requirement $(LOCK)
	@touch $@

#: lint                         check style, by ruff
lint: setup
	$(MODULE) ruff check .
	$(MODULE) ruff format --check .

#: test [ARGS=...]              run the tests, by pytest
test: setup
	@eval "$(MODULE) pytest --numprocesses 2 --dist worksteal $$ARGS"

#: test-browser                 test the pages that show runs and comparisons, in the Chromium of this machine
#:   CHROMIUM=path              in another browser of its kind
test-browser: setup
	@$(MODULE) pytest tests/browser

#: doctor [ARGS=--json]         look at this machine: versions, devices, precision, store, disk, data; with advice
doctor: setup
	@eval "$(MODULE) pipelines.doctor $$ARGS"

#: ui [PORT=5000]               open the recorded runs at http://127.0.0.1:5000
ui: setup
	@$(MODULE) pipelines.ui "$$PORT"

#: ingest-DATASET [FROM=path]   bring a dataset into data/cache, from its publisher or from a local copy
#:   FROM=DIR ARGS="--size 96"  a folder of images (ingest-folder), with a contact sheet; --resize, --strict
#:   ARGS=--find-duplicates     images of the test set that stand in the training set, too, or nearly: list and figure
ingest-%: setup
	@eval "$(MODULE) pipelines.ingest '$*' $${FROM:+--from \"\$$FROM\"} $$ARGS"

#: augment-RECIPE [ARGS=...]    draw what the model will see: originals beside eight draws of each
augment-%: setup
	@eval "$(MODULE) pipelines.augment '$*' $$ARGS"

#: train-RECIPE [ARGS=...]      train, evaluate and record; train-cifar is the default; ARGS="--epochs 2", "--help"
#:   SEEDS=5                    with five seeds, as one group with mean, spread and interval
#:   RESUME=last|RUN            go on with an unfinished run or group
train-%: setup
	@eval "$(MODULE) pipelines.train '$*' $${SEEDS:+--seeds \"\$$SEEDS\"} $${RESUME:+--resume \"\$$RESUME\"} $$ARGS"

#: tune-RECIPE [ARGS=...]       search its hyperparameters; ARGS="--strategy random --trials 20", "--help"
#:   WORKERS=2                  so many trials at once
tune-%: setup
	@eval "$(MODULE) pipelines.tune '$*' $${WORKERS:+--workers \"\$$WORKERS\"} $$ARGS"

#: transfer [ARGS=...]          fine-tune a trained network; ARGS="--source.run last --data.name folder --data.path DIR"
#:   SEEDS=3, RESUME=last|RUN   with several seeds; go on. Without ARGS a whole example: 5 classes to 5 others
transfer: setup
	@eval "$(MODULE) pipelines.transfer $${SEEDS:+--seeds \"\$$SEEDS\"} $${RESUME:+--resume \"\$$RESUME\"} $$ARGS"

#: compare RUNS="a b ..."       say what differs between runs, and whether it is more than chance; writes a page
compare: setup
	@eval "$(MODULE) pipelines.compare $$RUNS"

#: reproduce RUN=...            run a recorded run again from its record, and say whether the result is the same
reproduce: setup
	@eval "$(MODULE) pipelines.reproduce \"\$$RUN\" $$ARGS"

#: sync                         send what runs recorded while the store was away; list unfinished runs
sync: setup
	@$(MODULE) pipelines.sync

#: predict RUN=... INPUT=...    ask a recorded model: a name, an image, a folder, a pattern, a .txt file with one a line
#:   ARGS="--out answers.csv"   write all answers: .csv, .parquet or .json
predict: setup
	@eval "$(MODULE) pipelines.predict \"\$$RUN\" \"\$$INPUT\" $$ARGS"

#: register RUN=... NAME=...    register a recorded model under a name, with a model card of what its run recorded
#:   ALIAS=champion             which points to it from now on: models:/NAME@champion
register: setup
	@$(MODULE) pipelines.register "$$RUN" "$$NAME" $${ALIAS:+--alias "$$ALIAS"}

#: serve RUN=... [PORT=5001]    answer over HTTP at 127.0.0.1, by MLflow's scoring server; Ctrl-C ends it
#:   ARGS="--host 0.0.0.0"      to everybody who reaches this machine
serve: setup
	@eval "$(MODULE) pipelines.serve \"\$$RUN\" $(if $(PORT_GIVEN),--port \"\$$PORT\") $$ARGS"

#: export RUN=... FORMAT=...    write it as saved_model, litert or onnx, and compare it there with the recorded one
export: setup
	@eval "$(MODULE) pipelines.export \"\$$RUN\" --format \"\$$FORMAT\" $$ARGS"

#: evaluate RUN=... [ARGS=...]  score a recorded model again; RUN is an id, a name or last
evaluate: setup
	@eval "$(MODULE) pipelines.evaluate \"\$$RUN\" $$ARGS"
