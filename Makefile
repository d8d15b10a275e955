# Every target sets up what it needs: a .venv from PyPI, nothing of the user's.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test test-existing test-k3s lint bench docs parity fuzz kill clean format

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cove needs Python 3.11 or later; make PYTHON=python3.12 ... chooses one")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

# A cluster, an application, a chart and a custom resource; KEEP=1 leaves it up.
demo: $(STAMP)
	@$(BIN)/python demo/run.py $(if $(KEEP),--keep)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The five faces on the engine existing: all clusters are another process's.
test-existing: $(STAMP)
	COVE_TEST_ENGINE=existing $(BIN)/python -m pytest -n 2 --dist loadfile tests/host tests/testing tests/dev tests/operator tests/files

# On k3s' real image, where it can be fetched; COVE_K3S_IMAGE names another one.
test-k3s: $(STAMP)
	$(BIN)/python scripts/test_k3s.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python scripts/check_tree.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# KUBECONFIG=… measures any other API server beside ours; ONLY="server start" measures parts.
bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m bench $(foreach part,$(ONLY),--only $(part)) $(if $(KUBECONFIG),--beside $(KUBECONFIG))

# How far the recordings of a real Kubernetes are matched; ONLY='kind-*' narrows it.
parity: $(STAMP)
	$(BIN)/python tests/parity/run.py $(if $(ONLY),--only '$(ONLY)') $(if $(V),-v)

# Requests nobody would send, 100,000 of them, and schemathesis over every group of the
# OpenAPI, so many SECONDS for each; SEED=… and REQUESTS=… repeat a run.
SCHEMATHESIS := $(VENV)/schemathesis
fuzz: $(STAMP)
	$(BIN)/python tests/fuzz/run.py $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED))
	@test -x $(SCHEMATHESIS)/bin/st || $(PYTHON) -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt schemathesis
	$(BIN)/python tests/fuzz/schemas.py --program $(SCHEMATHESIS)/bin/st $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

# 100 times kill -9 under load: nothing that was acknowledged is lost.
kill: $(STAMP)
	COVE_KILL_ROUNDS=$(or $(ROUNDS),100) $(BIN)/python -m pytest -q tests/engines/test_kill.py

docs: $(STAMP)
	$(BIN)/python scripts/check_docs.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
