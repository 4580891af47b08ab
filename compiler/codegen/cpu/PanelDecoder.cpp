#include "compiler/codegen/cpu/PanelDecoder.h"
#include "compiler/codegen/cpu/Families.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include <numeric>

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;
using formats::ElementType;
using formats::FormatPart;
using Values = KernelBuilder::Values;

FailureOr<WeightFormat> lorac::cpu::parseFormat(Location loc, StringRef text) {
  std::optional<WeightFormat> format = formats::parseWeightFormat(text);
  if (format && format->kind != WeightFormat::Vector)
    return *format;
  emitError(loc) << "no storage format of matrices is named '" << text << "'";
  return failure();
}

SmallVector<MemRefType> lorac::cpu::weightParts(MLIRContext *context, const WeightFormat &format,
                                                int64_t n, int64_t k) {
  Builder b(context);
  const Type elements[] = {b.getF32Type(), b.getI16Type(), b.getI16Type(), b.getI8Type()};
  const int64_t panels = ceilDiv(n, panelRows);
  SmallVector<MemRefType> types;
  for (const FormatPart &part : partsOf(format)) {
    Type element = elements[size_t(part.element)];
    switch (part.role) {
    case FormatPart::Values:
      types.push_back(MemRefType::get({panels, k, panelRows}, element));
      break;
    case FormatPart::Codes:
      types.push_back(MemRefType::get({panels, k, panelRows * format.bits / 8}, element));
      break;
    case FormatPart::Scales:
    case FormatPart::Minima:
      if (format.kind == WeightFormat::Integers)
        types.push_back(MemRefType::get({n, std::max<int64_t>(k / format.block, 1)}, element));
      else
        types.push_back(MemRefType::get({scaleCount(format, n, k)}, element));
      break;
    case FormatPart::Nested:
      types.push_back(MemRefType::get({partBytes(format, 2, n, k) / 4}, element));
      break;
    }
  }
  return types;
}

int64_t PanelDecoder::groupSize(const WeightFormat &format, int64_t columnsOfW, int64_t alignment) {
  return format.block == 0 ? alignment : std::gcd(std::gcd(columnsOfW, format.block), alignment);
}

int64_t PanelDecoder::scratchBytes(const WeightFormat &format, int64_t columnsOfW, int64_t columns,
                                   int64_t alignment) {
  if (format.block == 0)
    return 0;
  int64_t groups = ceilDiv(columns, groupSize(format, columnsOfW, alignment));
  return groups * panelRows * sizeof(float) * (format.minima ? 2 : 1);
}

PanelDecoder::PanelDecoder(KernelBuilder &k, const WeightFormat &format, int64_t n,
                           int64_t columnsOfW, unsigned firstPart, int64_t columns,
                           int64_t alignment, int64_t scratchOffset)
    : k(k), format(format), n(n), columnsOfW(columnsOfW),
      group(groupSize(format, columnsOfW, alignment)), firstPart(firstPart) {
  if (format.block == 0)
    return;
  int64_t groups = ceilDiv(columns, group);
  scaleMemory = k.scratchF32(scratchOffset, {groups, panelRows});
  if (format.minima)
    offsetMemory =
        k.scratchF32(scratchOffset + groups * panelRows * sizeof(float), {groups, panelRows});
}

// A number of a part whose blocks run along rows.
Value PanelDecoder::ofBlock(unsigned part, Value row, Value column) {
  Value number = k.load(k.buffer(firstPart + part), {row, k.div(column, format.block)});
  return format.element == ElementType::F16 ? k.f16ToF32(number) : number;
}

// The scale of element (row, column), for row < n.
Value PanelDecoder::scaleAt(Value row, Value column) {
  if (format.kind == WeightFormat::Integers)
    return ofBlock(1, row, column);
  Value block = k.div(k.add(k.mul(row, columnsOfW), column), format.block);
  Value absmax = k.load(k.buffer(firstPart + 1), {block});
  if (!format.doubleQuant)
    return absmax;
  // map[absmax] · nested_absmax + offset, each step rounded as bitsandbytes rounds it
  Value nested = k.buffer(firstPart + 2);
  Value value = k.load(nested, {k.toIndexUnsigned(absmax)});
  Value outer = k.load(nested, {k.add(k.div(block, 256), 257)});
  return k.addf(k.mulf(value, outer), k.load(nested, {k.index(256)}));
}

void PanelDecoder::loadScales(Value panel, Value from, Value to) {
  if (format.block == 0)
    return;
  Value groups = k.div(k.add(k.sub(to, from), group - 1), group);
  k.forLoop(k.index(0), k.index(panelRows), 1, [&](Value lane) {
    Value row = k.add(k.mul(panel, panelRows), lane);
    Value real = k.less(row, k.index(n));
    Value readable = k.min(row, k.index(n - 1));
    k.forLoop(k.index(0), groups, 1, [&](Value g) {
      Value column = k.add(from, k.mul(g, group));
      k.store(k.select(real, scaleAt(readable, column), k.constF32(0.0)), scaleMemory, {g, lane});
      if (offsetMemory) {
        k.store(k.select(real, ofBlock(2, readable, column), k.constF32(0.0)), offsetMemory,
                {g, lane});
      }
    });
  });
}

PanelDecoder::Scales PanelDecoder::scales(Value groupIndex) {
  Scales result;
  for (int64_t lane = 0; format.block != 0 && lane < panelRows; lane += k.lanes()) {
    result.scale.push_back(k.vload(scaleMemory, {groupIndex, k.index(lane)}));
    if (offsetMemory)
      result.offset.push_back(k.vload(offsetMemory, {groupIndex, k.index(lane)}));
  }
  return result;
}

// The 16 codes of a column as vectors of i32: low nibbles first. Bits above the nibble may be set
// in the low ones.
Values PanelDecoder::nibbles(Value panel, Value kk) {
  Values low, high;
  for (int64_t byte = 0; byte < 8; byte += k.lanes()) {
    Value bytes =
        k.vload(k.vec(k.i8(), k.lanes()), k.buffer(firstPart), {panel, kk, k.index(byte)});
    Value wide = k.zext(bytes, k.vecI32());
    low.push_back(wide);
    high.push_back(k.shr(wide, k.splatI32(4)));
  }
  low.append(high);
  return low;
}

// The 16-entry table, in .rodata, for targets that have no permute over it.
static Value tableInMemory(KernelBuilder &k, const WeightFormat &format) {
  OpBuilder &b = k.builder();
  const auto &codebook = formats::codebooks[size_t(format.codebook)];
  std::string name = "codebook_" + std::string(codebook.name);
  auto module = k.function()->getParentOfType<ModuleOp>();
  auto type = MemRefType::get({16}, k.f32());
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto values =
        DenseElementsAttr::get(RankedTensorType::get({16}, k.f32()), ArrayRef(codebook.values));
    memref::GlobalOp::create(b, k.location(), name, b.getStringAttr("private"), type, values,
                             /*constant=*/true, IntegerAttr());
  }
  return memref::GetGlobalOp::create(b, k.location(), type, name);
}

Value PanelDecoder::lookUp(Value codes) {
  ArrayRef<float> table = formats::codebooks[size_t(format.codebook)].values;
  if (k.lanes() == 8) {
    Value low = k.constant(DenseElementsAttr::get(k.vecF32(), table.take_front(8)));
    Value high = k.constant(DenseElementsAttr::get(k.vecF32(), table.drop_front(8)));
    if (k.cpu().avx512) // one permute over both halves, which reads the low 4 bits
      return k.intrinsic("llvm.x86.avx512.vpermi2var.ps.256", k.vecF32(), {low, codes, high});
    Value fromLow = k.intrinsic("llvm.x86.avx2.permps", k.vecF32(), {low, codes});
    Value fromHigh = k.intrinsic("llvm.x86.avx2.permps", k.vecF32(), {high, codes});
    Value isHigh =
        k.less(k.shl(codes, k.splatI32(28)), k.splatI32(0)); // bit 3 as the sign: one blend
    return k.select(isHigh, fromHigh, fromLow);
  }
  Value memory = tableInMemory(k, format);
  Value result = k.splatF32(0.0);
  for (int64_t lane = 0; lane < k.lanes(); ++lane) {
    Value code = k.andi(k.extract(codes, lane), k.constI32(15));
    result = k.insert(k.load(memory, {k.toIndex(code)}), result, lane);
  }
  return result;
}

Values PanelDecoder::decode(Value panel, Value kk, const Scales &scales) {
  Values result;
  auto load = [&](Type element, int64_t lane) {
    return k.vload(k.vec(element, k.lanes()), k.buffer(firstPart), {panel, kk, k.index(lane)});
  };
  if (format.kind == WeightFormat::Floats) {
    for (int64_t lane = 0; lane < panelRows; lane += k.lanes()) {
      Value number = load(format.element == ElementType::F32 ? k.f32() : k.i16(), lane);
      result.push_back(format.element == ElementType::F16    ? k.f16ToF32(number)
                       : format.element == ElementType::BF16 ? k.bf16ToF32(number)
                                                             : number);
    }
    return result;
  }
  Values all;
  if (format.bits == 4)
    all = nibbles(panel, kk);
  for (int64_t i = 0; i < panelRows / k.lanes(); ++i) {
    Value code = format.bits == 4 ? all[i] : k.sext(load(k.i8(), i * k.lanes()), k.vecI32());
    if (format.kind == WeightFormat::Codebook) {
      result.push_back(k.mulf(lookUp(code), scales.scale[i]));
      continue;
    }
    if (format.bits == 4) {
      code = k.andi(code, k.splatI32(15));
      if (!format.minima)
        code = k.sub(code, k.splatI32(8));
    }
    Value value = k.mulf(k.toFloat(code, k.vecF32()), scales.scale[i]);
    result.push_back(format.minima ? k.addf(value, scales.offset[i]) : value);
  }
  return result;
}
