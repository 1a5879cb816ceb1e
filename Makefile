# `make` tells what there is to do. Nothing needs to be done before any target.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A sourced ROS 2 and the ROS wheels cannot share an environment, so each kind has its own stamp.
STAMP := $(VENV)/.set-up-$(if $(and $(AMENT_PREFIX_PATH),$(ROS_DISTRO)),ros,wheels)

# What is started here stays on this machine, and out of the domain (0) of a robot that may be
# running on it: the demo publishes cmd_vel.
export ROS_DOMAIN_ID := $(or $(CRNN_SNN_DOMAIN_ID),87)
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
ifneq ($(filter foxy galactic humble,$(ROS_DISTRO)),)
export ROS_LOCALHOST_ONLY := 1
endif
# Set by the ROS wheels of another environment, it would keep ours from finding its libraries.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: help setup demo test matrix lint clean
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything that the targets below need

$(STAMP): setup.py constraints.txt scripts/setup_venv.py $(wildcard crnn_snn_ros/*/native_src/* crnn_snn_ros/*/*/native_src/*)
	$(PYTHON) scripts/setup_venv.py $(VENV)
	@touch $@

demo: setup ## drive simulated courses: camera frames over DDS -> spiking network -> cmd_vel
	$(BIN)/python -m crnn_snn_ros.ros.demo $(DEMO)

test: lint ## run the linters and the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

matrix: ## run the tests that need ROS on Python 3.10 to 3.12, ROS 2 Jazzy and Kilted; takes an hour
	$(PYTHON) scripts/matrix.py out/matrix $(MATRIX)

lint: setup ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove .venv and everything that was built or produced
	rm -rf $(VENV) build dist install log out *.egg-info
	rm -f crnn_snn_ros/core/engines/_native*.so crnn_snn_ros/training/_scan*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
