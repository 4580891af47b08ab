#pragma once
// The `device` dialect (DeviceOps.td): the ops of a CUDA kernel that no dialect of MLIR has in the
// form that our printer wants.

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "compiler/codegen/cuda/DeviceDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/codegen/cuda/DeviceTypes.h.inc"
#define GET_OP_CLASSES
#include "compiler/codegen/cuda/DeviceOps.h.inc"
