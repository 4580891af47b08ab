#!/bin/bash
# kernel-keys.sh BUILD SOURCE [COUNT [SEED]]: both targets' tables serve every kernel that the passes ask for: specs of drawn shapes, formats, ranks,
# adapters and optimizers compile for the CPU, and their kernels are made for CUDA.
source "$(dirname "$0")/common.sh"
python3 "$source/tests/e2e/kernel_keys.py" "$lorac" "$source" "$work" "${3:-8}" "${4:-1}"
