# Everything a fresh Debian 12 machine with Python 3.11 needs; root or sudo, with or without a screen.
#   make demo    napari with a sample brain already segmented (without a screen: a screenshot and the mask in demo/)
#   make test    all tests       make lint   style, types, import rules       make wheel-check   the wheel, installed alone

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help system venv venv-pyqt6 demo test test-engine test-plugin test-plugin-pyqt6 test-triton test-gpu lint wheel-check screenshots clean

VENV := .venv
VENV6 := .venv-pyqt6
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := $(VENV)/bin/python
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Qt draws through OpenGL, and its "offscreen" platform has none, whatever the environment asks for: without a screen
# napari needs this one.
XVFB := QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1280x1024x24"
export QT_API ?= pyqt5

# What the wheels of PyQt5 and PyQt6 take from the system (ldd on their xcb plugins), software OpenGL, a font, a virtual screen.
SYSTEM_PACKAGES := xvfb xauth fonts-dejavu-core fontconfig libfontconfig1 libfreetype6 libdbus-1-3 libglib2.0-0 \
  libgl1 libegl1 libglx-mesa0 libegl-mesa0 libgl1-mesa-dri libgssapi-krb5-2 libx11-xcb1 libxkbcommon0 libxkbcommon-x11-0 \
  libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render0 libxcb-render-util0 \
  libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-util1 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1

help:
	@sed -n '2,3p' Makefile

# Asks apt only for what is missing; where there is no apt, the packages above are the user's to find.
system:
	@if ! command -v apt-get >/dev/null; then echo "no apt-get here: make sure that Qt 5 and OpenGL work"; exit 0; fi; \
	wanted="$(SYSTEM_PACKAGES)"; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || wanted="$$wanted python3.11 python3.11-venv"; \
	missing=; \
	for package in $$wanted; do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  $(SUDO) apt-get update -q; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi

venv: system $(VENV)/.installed

# Made anew by pip only when what it depends on changed; constraints.txt keeps gigabytes of CUDA away.
$(VENV)/.installed: pyproject.toml constraints.txt
	@[ -x $(PY) ] || "$$(command -v python3.11 || command -v python3)" -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[pyqt5,dev]'
	@touch $@

# napari drops PyQt5 in its next release: the plugin is tested on both, each in an environment of its own.
venv-pyqt6: system $(VENV6)/.installed

$(VENV6)/.installed: pyproject.toml constraints.txt
	@[ -x $(VENV6)/bin/python ] || "$$(command -v python3.11 || command -v python3)" -m venv $(VENV6)
	$(VENV6)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[pyqt6,dev]'
	@touch $@

demo: venv
	@if [ -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ]; then $(PY) -m napari_mambaseg._demo demo; \
	else $(XVFB) $(PY) -m napari_mambaseg._demo demo --screenshot; fi

test: test-engine test-triton test-plugin test-plugin-pyqt6

# With no pytest plugin but the type checker's: the engine and its tests must need neither napari nor Qt.
test-engine: venv
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(PY) -m pytest -p jaxtyping._pytest_plugin tests/engine

# In processes of their own: Triton reads the variable once, and the type checker's import hook hides its language.
test-triton: venv
	TRITON_INTERPRET=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(PY) -m pytest --override-ini=addopts=--import-mode=importlib tests/triton
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(PY) -m pytest --override-ini=addopts=--import-mode=importlib tests/triton/test_compile.py

test-plugin: venv
	$(XVFB) $(PY) -m pytest tests/plugin

test-plugin-pyqt6: venv-pyqt6
	QT_API=pyqt6 $(XVFB) $(VENV6)/bin/python -m pytest tests/plugin

# On a machine with a GPU, where torch with CUDA and the engine's dependencies are installed already: GPU_PYTHON.
GPU_PYTHON ?= python3
test-gpu:
	PYTHONPATH=$(CURDIR)/src/engine$${PYTHONPATH:+:$$PYTHONPATH} PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(GPU_PYTHON) -m pytest \
	  --override-ini=addopts=--import-mode=importlib -rs tests/gpu

lint: venv
	$(VENV)/bin/ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

wheel-check: venv
	$(PY) .ci/wheel_check.py

screenshots: venv
	$(XVFB) $(PY) docs/make_screenshot.py

# The whole flow in the real window, with a picture of each step in demo/tour.
.PHONY: tour
tour: venv
	@if [ -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ]; then $(PY) docs/tour.py demo/tour; else $(XVFB) $(PY) docs/tour.py demo/tour; fi

clean:
	rm -rf $(VENV) $(VENV6) dist build demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
