#pragma once
// What is not a finite number is refused wherever numbers come in or go out: weights, adapters,
// losses, norms, logits, checkpoints, exports.

#include "runtime/Result.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace lorac::formats {

/// Index of the first value that is NaN or infinite; nothing when all are finite.
std::optional<size_t> firstNotFinite(std::span<const float> values);

/// `value` as people write it: "nan" (never "-nan"), "inf", "-inf", else the number.
std::string numberText(double value);

/// Error (Exit::Failed) that names the tensor, the position and the value, unless all are finite.
/// `what` begins the message: "step 7: after the update", "'adapter_model.safetensors'".
Result<void> requireFinite(std::span<const float> values, const std::string &what,
                           const std::string &tensor);

/// Of an adapter that is read: Error (Exit::ForeignFile) with file, tensor, value and place, "[7]"
/// of a vector, else "[row, column]".
Result<void> requireFiniteTensor(std::span<const float> values, const std::string &path,
                                 const std::string &tensor, std::span<const int64_t> shape);

} // namespace lorac::formats
