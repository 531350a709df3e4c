# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_OUT ?= demo_output
# Without a screen, the window is drawn on a virtual one.
SCREEN := $(if $(DISPLAY)$(WAYLAND_DISPLAY),,xvfb-run -a -s "-screen 0 1600x1000x24")

.PHONY: demo test lint clean

demo: $(READY)
	$(SCREEN) $(BIN)/napari-ssl-seg demo --out $(DEMO_OUT) $(if $(DISPLAY)$(WAYLAND_DISPLAY),,--no-window)

test: $(READY) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# constraints.txt pins torch; where a CPU build of it lies at hand, pip takes that one.
$(READY): setup.cfg constraints.txt .ci/system-packages
	.ci/system-packages
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_OUT) build dist *.egg-info
