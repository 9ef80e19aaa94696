# make run: the app on http://127.0.0.1:7860 (PORT= for another).   make test: the whole suite.
# make soak: hostile files through every door, a crowd, 2000 dreams; its table into SECURITY.md.
# make lint: ruff, mypy, and the workflows by schema and actionlint.   make bench: what it costs, into docs/performance.md.
# make gpu: proves the engine on a GPU and measures it there (DEVICE= for another device).
# make machines: the numerical tests, as other processors would run them.
# make pictures: the page's own pictures.   make means: Dreamlet's mean activations.
# make contract: what the API promises, after it was changed on purpose.   make tables: those of docs/.
PYTHON ?= python3
PORT ?= 7860
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DREAM := $(BIN)/python -m dream

.PHONY: run test soak lint machines gpu bench pictures means contract tables browser
.DELETE_ON_ERROR:

run: .venv/app
	@echo "Starting the app on http://127.0.0.1:$(PORT), or the next free port; Ctrl-C stops it."
	@GRADIO_SERVER_PORT=$(PORT) $(BIN)/python app.py

# In three processes of one thread each, one of which waits for a server or a browser mostly: threads
# that share a core with others wait for one another.
test: .venv/tools browser tests/node_modules
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

soak: .venv/tools
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak

machines: .venv/tools
	$(BIN)/python -m tests.tools.machines

# With the Python that has the torch of the GPU, where there is no .venv: nothing is installed.
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
	$(BIN)/python -m tests.bench

pictures: .venv/app
	$(DREAM) image examples/coffee.jpg --octaves 5 -o examples/dream-coffee-inception4c-i5-seed0.png
	for picture in examples/layers/*.png; do \
	  $(DREAM) image examples/clouds.jpg --intensity 7 --max-side 240 \
	    --layer "$$(basename "$$picture" .png)" -o "$$picture" || exit 1; \
	done
	$(DREAM) class goldfish -o examples/class-goldfish-seed0.png
	rm -f examples/channels/*.png
	for layer in inception3b inception4c inception5a; do \
	  DREAM_CACHE_DIR=examples/channels $(DREAM) channel --layer $$layer --grid 16 \
	    -o .venv/grid.png || exit 1; \
	done
	$(DREAM) zoom examples/coffee.jpg --seconds 4 --max-side 360 \
	  -o examples/films/zoom-coffee-inception4c-seed0.mp4
	$(DREAM) zoom examples/cat.jpg --step 0 --seconds 3 --zoom 1.15 --right 0.06 --max-side 360 \
	  -o .venv/pan.mp4
	$(DREAM) video .venv/pan.mp4 --max-side 360 -o examples/films/video-cat-inception4c-seed0.mp4
	$(DREAM) making-of examples/coffee.jpg --octaves 5 --max-side 480 --loop --seconds 2.5 \
	  -o examples/films/making-of-dream-coffee-inception4c-i5-seed0.mp4
	$(BIN)/python -m tests.tools.site

means: .venv/tools
	$(BIN)/python -m tests.tools.means

contract: .venv/tools
	$(BIN)/python -m tests.tools.contract

tables: .venv/tools
	$(BIN)/python -m tests.tools.tables

.venv/app: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@echo "Installing (torch is large; this takes some minutes the first time) ..."
	$(INSTALL) -r requirements.txt
	@touch $@

.venv/tools: .venv/app tests/requirements.txt
	$(INSTALL) -r tests/requirements.txt
	@touch $@

# The browser tests drive a Chromium of the system's own.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null \
	|| { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] \
	     && echo "Installing Debian's chromium for the browser tests ..." \
	     && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
	|| echo "No Chromium here, and none could be installed: the browser tests will be skipped."

# What tests and lint take from npm is installed by a Node of the system's own.
tests/node_modules: tests/package.json tests/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "No npm here: what needs it will be skipped."; fi
