#include "compiler/codegen/cpu/WeightFormat.h"
#include "compiler/codegen/cpu/Families.h"
#include "mlir/IR/Diagnostics.h"
#include "runtime/formats/Codebooks.h"
#include "runtime/formats/WeightFormat.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

FailureOr<WeightFormat> WeightFormat::parse(Location loc, StringRef text) {
  std::optional<formats::WeightFormat> format = formats::parseWeightFormat(text);
  if (!format || format->kind == formats::WeightFormat::Vector) {
    emitError(loc) << "no storage format of matrices is named '" << text << "'";
    return failure();
  }
  std::optional<lora::FormatKind> kind =
      lora::symbolizeFormatKind(text.take_until([](char c) { return c == '<'; }));
  assert(kind && "the dialect knows the same formats");
  return WeightFormat{*kind, format->block, format->doubleQuant};
}

SmallVector<MemRefType> WeightFormat::parts(MLIRContext *context, int64_t n, int64_t k) const {
  Builder b(context);
  Type f32 = b.getF32Type(), i8 = b.getI8Type(), i16 = b.getI16Type();
  int64_t panels = ceilDiv(n, panelRows);
  auto panel = [&](int64_t width, Type element) {
    return MemRefType::get({panels, k, width}, element);
  };
  auto perRow = MemRefType::get({n, std::max<int64_t>(k / 32, 1)}, i16);
  switch (kind) {
  case lora::FormatKind::F32:
    return {panel(16, f32)};
  case lora::FormatKind::F16:
  case lora::FormatKind::BF16:
    return {panel(16, i16)};
  case lora::FormatKind::Q8_0:
    return {panel(16, i8), perRow};
  case lora::FormatKind::Q4_0:
    return {panel(8, i8), perRow};
  case lora::FormatKind::Q4_1:
    return {panel(8, i8), perRow, perRow};
  default:
    break;
  }
  int64_t blocks = ceilDiv(n * k, block);
  if (!doubleQuant)
    return {panel(8, i8), MemRefType::get({blocks}, f32)};
  return {panel(8, i8), MemRefType::get({blocks}, i8),
          MemRefType::get({257 + ceilDiv(blocks, 256)}, f32)};
}

ArrayRef<float> WeightFormat::codebook() const {
  return kind == lora::FormatKind::NF4 ? formats::nf4Codes : formats::fp4Codes;
}
