# make run: start the app on http://127.0.0.1:7860 (PORT= for another port).
# make test: run the test suite.   make test-all: run it with the tests at scale.
# make lint: ruff, mypy, and the workflows by schema and actionlint.
# make bench: measure speed and memory; writes docs/performance.md.
# make soak: hostile files, a crowd of clients and 2000 dreams; writes a table into SECURITY.md.
# make gpu: check and measure the engine on a GPU (DEVICE= for another device).
# make machines: run the numerical tests as on other processors.
# make pictures: make the example images.   make means: measure Dreamlet's mean activations.
# make contract: write tests/contract.json after an intended change of the API.
# make tables: write the tables of docs/.
PYTHON ?= python3
PORT ?= 7860
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DREAM := $(BIN)/python -m dream

.PHONY: run test test-all soak lint machines gpu bench pictures means contract tables browser
.DELETE_ON_ERROR:

run: .venv/app
	@echo "Starting the app on http://127.0.0.1:$(PORT), or the next free port; Ctrl-C stops it."
	@GRADIO_SERVER_PORT=$(PORT) $(BIN)/python app.py

# One thread for each process: OpenMP threads that share a core spin while they wait. Three processes
# for two cores, because one mostly waits for a server or a browser.
test: CHOICE := -m "not at_scale"
# Compile each file once, not again in each of a hundred processes, whatever the machine's settings.
test test-all: export PYTHONDONTWRITEBYTECODE :=
test test-all: .venv/tools browser tests/node_modules
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal $(CHOICE)

soak: .venv/tools
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.soak

machines: .venv/tools
	$(BIN)/python -m tools.machines

# Without .venv, use the system's Python, whose torch matches the GPU; nothing is installed.
gpu:
	$$(command -v $(BIN)/python || command -v $(PYTHON)) -m tools.gpu --device $(or $(DEVICE),cuda)

lint: .venv/tools tests/node_modules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	[ ! -d tests/node_modules ] || node tests/workflows.mjs .github/workflows/*.yml

bench: .venv/app
	$(BIN)/python -m tools.bench

pictures: .venv/app
	$(DREAM) image examples/coffee.jpg -o examples/dream-coffee-inception4c-i5-seed0.png
	for picture in examples/layers/*.png; do \
	  $(DREAM) image examples/clouds.jpg --intensity 7 --octaves 4 --max-side 240 \
	    --layer "$$(basename "$$picture" .png)" -o "$$picture" || exit 1; \
	done
	$(DREAM) class goldfish -o examples/class-goldfish-seed0.png
	rm -f examples/channels/*.png
	for layer in inception3b inception4c inception5a; do \
	  DREAM_CACHE_DIR=examples/channels $(DREAM) channel --layer $$layer --grid 16 \
	    -o .venv/grid.png || exit 1; \
	done
	$(DREAM) zoom examples/coffee.jpg --seconds 5 --max-side 320 \
	  -o examples/films/zoom-coffee-seed0.mp4
	$(DREAM) zoom examples/cat.jpg --layer inception4c --step 0 --seconds 3 --zoom 1.15 --right 0.06 --max-side 360 \
	  -o .venv/pan.mp4
	$(DREAM) video .venv/pan.mp4 --max-side 360 -o examples/films/video-cat-inception4c-seed0.mp4
	$(DREAM) making-of examples/coffee.jpg --max-side 480 --loop --seconds 2.5 \
	  -o examples/films/making-of-dream-coffee-inception4c-i5-seed0.mp4
	$(BIN)/python -m tools.site

means: .venv/tools
	$(BIN)/python -m tools.means

contract: .venv/tools
	$(BIN)/python -m tools.contract

tables: .venv/tools
	$(BIN)/python -m tools.tables

.venv/app: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@echo "Installing (torch is large; this takes some minutes the first time) ..."
	$(INSTALL) -r requirements.txt
	@touch $@

.venv/tools: .venv/app tests/requirements.txt
	$(INSTALL) -r tests/requirements.txt
	@touch $@

# The browser tests use the system's Chromium.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null \
	|| { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] \
	     && echo "Installing Debian's chromium for the browser tests ..." \
	     && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
	|| echo "Chromium is missing and cannot be installed: the browser tests will be skipped."

# Install the npm packages of tests and lint with the system's Node.
tests/node_modules: tests/package.json tests/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is missing: tests that need it will be skipped."; fi
