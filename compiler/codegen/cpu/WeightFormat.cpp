#include "compiler/codegen/cpu/WeightFormat.h"
#include "compiler/codegen/cpu/Families.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

// QLoRA (Dettmers et al. 2023), appendix E.
static constexpr float nf4Values[16] = {-1.0f,
                                        -0.6961928009986877f,
                                        -0.5250730514526367f,
                                        -0.39491748809814453f,
                                        -0.28444138169288635f,
                                        -0.18477343022823334f,
                                        -0.09105003625154495f,
                                        0.0f,
                                        0.07958029955625534f,
                                        0.16093020141124725f,
                                        0.24611230194568634f,
                                        0.33791524171829224f,
                                        0.44070982933044434f,
                                        0.5626170039176941f,
                                        0.7229568362236023f,
                                        1.0f};

// bitsandbytes' fp4: sign, then 0, 1/192, 2/3, 1, 1/3, 1/2, 1/6, 1/4.
static constexpr float fp4Values[16] = {0.0f,
                                        0.0052083334885537624f,
                                        0.6666666865348816f,
                                        1.0f,
                                        0.3333333432674408f,
                                        0.5f,
                                        0.1666666716337204f,
                                        0.25f,
                                        -0.0f,
                                        -0.0052083334885537624f,
                                        -0.6666666865348816f,
                                        -1.0f,
                                        -0.3333333432674408f,
                                        -0.5f,
                                        -0.1666666716337204f,
                                        -0.25f};

FailureOr<WeightFormat> WeightFormat::parse(Location loc, StringRef text) {
  StringRef name = text.take_until([](char c) { return c == '<'; });
  std::optional<lora::FormatKind> kind = lora::symbolizeFormatKind(name);
  if (!kind || *kind == lora::FormatKind::Vector) {
    emitError(loc) << "no storage format of matrices is named '" << text << "'";
    return failure();
  }
  WeightFormat format{*kind};
  if (!format.isFlatBlocked()) {
    bool gguf = format.kind == lora::FormatKind::Q8_0 || format.isFourBit();
    format.block = gguf ? 32 : 0;
    return format;
  }
  StringRef inner = text.drop_front(name.size());
  bool brackets = inner.consume_front("<") && inner.consume_back(">");
  auto [block, suffix] = inner.split(',');
  format.doubleQuant = suffix.trim() == "dq256";
  if (!brackets || block.trim().getAsInteger(10, format.block) || format.block <= 0 ||
      (!suffix.empty() && !format.doubleQuant)) {
    emitError(loc) << "storage format '" << text << "' is not of the form '" << name << "<64>' or '"
                   << name << "<64, dq256>'";
    return failure();
  }
  return format;
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
  return kind == lora::FormatKind::NF4 ? nf4Values : fp4Values;
}
