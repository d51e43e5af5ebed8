# Each target makes the virtual environment it needs; PYTHON chooses the interpreter.
PYTHON ?= python3
DEMO_NAME ?= demo
DEMO_STEPS ?=
RUN = .venv/bin/python
ORACLE = .venv-oracle/bin/python
# The CUDA version that nvidia-smi shows: 12 or 13.
CUDA ?= 13
GPU = .venv-gpu/bin/python
# PyTorch's build for drivers of CUDA 12; PyPI's is for 13.
TORCH_FOR_12 = --extra-index-url https://download.pytorch.org/whl/cu126
# It asks for old versions of libraries that it can do without.
UNPINNED = --no-deps torchattacks==3.5.1
# Settings that some have for OpenBLAS would slow NumPy, and not PyTorch.
BENCH = env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE .venv-bench/bin/python
BENCHMARKS = training_step sampling per_op growth recompute peers profile_step overhead nms input_gradient

.PHONY: help demo test test-all oracle gpu gpu-bench lint bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/ready  ## train on the built-in digits and draw new ones (a few minutes)
	$(RUN) examples/ddpm.py --data digits --name $(DEMO_NAME) --guidance 4 --every 5000 $(if $(DEMO_STEPS),--steps $(DEMO_STEPS))

test: .venv/ready  ## the tests
	$(RUN) -m pytest -q

test-all: .venv/ready  ## the slow ones too
	$(RUN) -m pytest -q -m 'not oracle and not gpu'

oracle: .venv-oracle/ready  ## comparisons with PyTorch and other third-party libraries
	$(ORACLE) -m pytest -q -m oracle

gpu: .venv-gpu/cuda$(CUDA)  ## all tests, the slow ones and the comparisons too, on a GPU (CUDA=12, 13)
	TINYDIFF_BACKEND=cupy TINYDIFF_TF32=0 $(GPU) -m pytest -q -m ''

gpu-bench: .venv-gpu/cuda$(CUDA)  ## speed on a GPU beside PyTorch's, into docs/benchmarks.md (CUDA=12, 13)
	TINYDIFF_BACKEND=cupy $(GPU) benchmarks/gpu.py --out docs/benchmarks
	$(GPU) benchmarks/report.py

lint: .venv/ready  ## style
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

bench: .venv-bench/ready  ## speed and memory beside PyTorch's and others', into docs/benchmarks.md
	for name in $(BENCHMARKS); do $(BENCH) benchmarks/$$name.py --out docs/benchmarks || exit; done
	$(BENCH) benchmarks/training_step.py --out docs/benchmarks --avx2 --no-memory --rounds 3
	TINYDIFF_NUM_THREADS=1 $(BENCH) benchmarks/floor.py --out docs/benchmarks
	$(BENCH) benchmarks/report.py

clean:  ## remove what the targets made, except runs/
	rm -rf .venv .venv-oracle .venv-bench .venv-gpu build *.egg-info

.venv/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install -q -e '.[test,plots,dev]'
	touch $@

# torch goes first and pinned: pip then leaves whatever build of it is installed.
.venv-oracle/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-oracle
	$(ORACLE) -m pip install -q torch==2.13.0
	$(ORACLE) -m pip install -q -e '.[oracle]'
	$(ORACLE) -m pip install -q $(UNPINNED)
	touch $@

.venv-gpu/cuda$(CUDA): setup.cfg pyproject.toml
	rm -rf .venv-gpu
	$(PYTHON) -m venv .venv-gpu
	$(GPU) -m pip install -q torch==2.13.0 $(TORCH_FOR_$(CUDA))
	$(GPU) -m pip install -q -e '.[cuda$(CUDA),gpu]'
	$(GPU) -m pip install -q $(UNPINNED)
	touch $@

.venv-bench/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q torch==2.13.0
	.venv-bench/bin/python -m pip install -q -e '.[bench]'
	touch $@
