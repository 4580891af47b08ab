#pragma once
// A matrix in 4 bits as bitsandbytes serializes it (Linear4bit's state_dict): what transformers and
// PEFT open.

#include "runtime/Result.h"
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/SafetensorsWriter.h"
#include "runtime/formats/WeightFormat.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::formats {

class FourBitMatrix {
public:
  /// Quantizes the rows to a codebook, blocks over the flat matrix. Error: a value that is not
  /// finite, with its place.
  static Result<std::shared_ptr<const FourBitMatrix>> quantize(const RowSource &source,
                                                               const WeightFormat &format);

  /// A row as bitsandbytes decodes it.
  void readRow(int64_t row, float *out) const;

  /// The tensors of the weight `name`, "….weight". `element` is what it is decoded to: the name of
  /// a type in PyTorch ("float32"). They keep `matrix`.
  static std::vector<StreamedTensor> tensors(std::shared_ptr<const FourBitMatrix> matrix,
                                             const std::string &name, std::string_view element);

private:
  FourBitMatrix(const WeightFormat &format, int64_t rows, int64_t cols);
  std::string state(std::string_view element) const;

  WeightFormat format;
  int64_t n, k;
  std::vector<uint8_t> packed; ///< two codes a byte, the first in the upper half
  std::vector<float> absmax;   ///< by block; empty with double quantization
  std::vector<uint8_t> absmaxCodes;
  std::vector<float> nested; ///< its map, its offset, its absmax
};

} // namespace lorac::formats
