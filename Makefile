# Short names for people; the build itself is CMake's (CMakeLists.txt, cmake/Lorac.cmake).
BUILD := build
JOBS ?= 2
SCRIPTS := cmake/scripts

.DEFAULT_GOAL := build
.PHONY: setup cuda-tools build programs test test-cuda test-gpu demo bench bench-memory bench-neighbour bench-adalora bench-adalora-cold bench-cuda-static test-interop reliability generated format format-check clean help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 - /p' Makefile

setup: ## install the Debian packages that are missing
	@bash $(SCRIPTS)/setup.sh .ci/packages.txt

cuda-tools: # NVRTC and nvdisasm for the tests of the CUDA target
	@bash $(SCRIPTS)/cuda_tools.sh $(BUILD)/cuda-tools

build: ## cmake and ninja, in build/
	@bash $(SCRIPTS)/build.sh $(BUILD)

programs: # what a user runs, without the tests
	@bash $(SCRIPTS)/build.sh $(BUILD) lorac lorac-train

test: setup cuda-tools build ## every test but the long ones of the CUDA target
	@bash $(SCRIPTS)/test.sh $(BUILD) $(JOBS) -LE long

test-cuda: setup cuda-tools build ## all tests of the CUDA target, on the PTX simulator
	@bash $(SCRIPTS)/test.sh $(BUILD) $(JOBS) -R '[Cc]uda|ptxsim|Gpu|^Driver|^Context|^LoadedKernel|^KernelCache'

test-gpu: build ## what only a GPU settles: tests on the hardware, kernels beside their floors and cuBLAS
	@bash tests/gpu/run.sh $(BUILD)

demo: setup programs ## fine-tune SmolLM2-135M on this machine, and see what it says
	@bash $(SCRIPTS)/demo.sh $(BUILD)

bench: setup programs ## speed and memory of the SmolLM2 step
	@bash $(SCRIPTS)/bench.sh $(BUILD)

bench-memory: setup programs ## memory of the SmolLM2 step, planned and resident, and what a limit on it costs
	@bash $(SCRIPTS)/bench_memory.sh $(BUILD)

bench-neighbour: setup programs ## what the SmolLM2 step keeps of its speed beside busy processes, and what PEFT's keeps
	@bash $(SCRIPTS)/bench_neighbour.sh $(BUILD)

bench-adalora: setup programs ## AdaLoRA's prune modes: held-out loss, step time, memory; beside PEFT once test-interop has installed it
	@bash $(SCRIPTS)/bench_adalora.sh $(BUILD)

bench-adalora-cold: setup programs ## what the building of programs costs a run of 200 SmolLM2 steps
	@bash $(SCRIPTS)/bench_adalora.sh $(BUILD) --cold

bench-cuda-static: setup cuda-tools ## bytes, bank conflicts and mma of the CUDA kernels, counted in the PTX simulator
	@bash $(SCRIPTS)/build.sh $(BUILD) lorac lorac-train PtxsimCuda
	@LORAC_CUDA_TOOLS=$(abspath $(BUILD)/cuda-tools) python3 tests/bench/cuda_static.py $(BUILD) $(BUILD)/tests/ptxsim/lib/libcuda.so.1

test-interop: setup programs ## adapters in PEFT and llama.cpp; installs them into a throw-away environment
	@bash $(SCRIPTS)/interop.sh $(BUILD)

reliability: setup ## kills, I/O faults, bit flips, signals and fuzzing of what ships: under 15 minutes after its builds
	@bash $(SCRIPTS)/setup.sh .ci/reliability-packages.txt
	@bash $(SCRIPTS)/reliability.sh $(BUILD) $(RELIABILITY)

generated: setup programs ## renew the committed dumps of the tiny specs
	@for spec in tiny_lora tiny_rslora tiny_qlora tiny_loraplus tiny_adalora; do \
	  $(BUILD)/lorac compile specs/$$spec.toml --cpu x86-64-v3 -o generated/$$spec || exit 1; done

format: ## clang-format on our sources
	@bash $(SCRIPTS)/format.sh write

format-check: ## whether `make format` would change anything
	@bash $(SCRIPTS)/format.sh check

clean: ## remove the build folder
	rm -rf $(BUILD)
