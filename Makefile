# Each target installs what it needs into .venv first; none needs a GPU, root or a server.
PYTHON ?= python3
BIN := .venv/bin
# K-FAC is compared with curvlinops. Its own requirements would bring torchvision, whose build for
# GPUs breaks Lightning beside a torch without; it runs with these alone.
ORACLES := curvlinops-for-pytorch==3.0.1 linear_operator==0.6.1 opt-einsum==3.4.0 einops==0.8.2 \
	einconv==0.1.0

.PHONY: sweep ui test test-long test-faults check bench clean

sweep: .venv/installed  ## sweep the default recipe with live progress
	$(BIN)/paceline sweep mlp
	@echo
	@echo "Browse it: make ui, then open http://127.0.0.1:5000"

ui: .venv/installed  ## MLflow's page on the store in use
	$(BIN)/paceline ui

TWO_PROCESSES := -n 2 --dist loadgroup --no-loadscope-reorder

test: .venv/tested  ## all tests but the long and the slow ones
	$(BIN)/python -m pytest -m "not long and not slow" $(TWO_PROCESSES)

test-long: .venv/tested  ## whole sweeps, runs of many workers, a local cluster, README's commands
	$(BIN)/python -m pytest -m "long and not slow" $(TWO_PROCESSES)

test-faults: .venv/tested  ## the slow ones: faults of every kind, again and again; an hour
	$(BIN)/python -m pytest -m slow --timeout 600

check: .venv/tested  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build/types && ln -sfn ../.. build/types/paceline
	$(BIN)/pyright

bench: .venv/tested  ## side-by-side benchmarks, one JSON line each; an hour
	@for file in tests/benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

clean:  ## forget the installation and what was built
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(ORACLES)
	@touch $@
