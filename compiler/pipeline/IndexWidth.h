#pragma once
// Whether a device's kernels can index what they are given: they count the elements of a buffer
// with 32 bits.

#include "dsl/Spec.h"
#include "mlir/IR/BuiltinOps.h"

#include <optional>
#include <string>

namespace lorac {

struct IndexFault {
  dsl::SourceRange range;     ///< the key to change; none where there is none, or it is a default
  std::string place, message; ///< as a diagnostic has them
};

/// The largest buffer or weight of a launch that has 2^31 elements or more, its padding included;
/// nothing where all are smaller. After 50-planned.
std::optional<IndexFault> findIndexFault(mlir::ModuleOp planned, const dsl::Spec &spec);

} // namespace lorac
