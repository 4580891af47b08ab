#include "compiler/codegen/cpu/PanelDecoder.h"
#include "compiler/codegen/cpu/Families.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include <numeric>

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;
using lora::FormatKind;
using Values = KernelBuilder::Values;

int64_t PanelDecoder::groupSize(const WeightFormat &format, int64_t columnsOfW, int64_t alignment) {
  return format.block == 0 ? alignment : std::gcd(std::gcd(columnsOfW, format.block), alignment);
}

int64_t PanelDecoder::scratchBytes(const WeightFormat &format, int64_t columnsOfW, int64_t columns,
                                   int64_t alignment) {
  if (format.block == 0)
    return 0;
  int64_t groups = ceilDiv(columns, groupSize(format, columnsOfW, alignment));
  return groups * panelRows * sizeof(float) * (format.kind == FormatKind::Q4_1 ? 2 : 1);
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
  if (format.kind == FormatKind::Q4_1)
    offsetMemory =
        k.scratchF32(scratchOffset + groups * panelRows * sizeof(float), {groups, panelRows});
}

// The scale of element (row, column), for row < n.
Value PanelDecoder::scaleAt(Value row, Value column) {
  if (!format.isFlatBlocked())
    return k.f16ToF32(k.load(k.buffer(firstPart + 1), {row, k.div(column, 32)}));
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
        Value m = k.f16ToF32(k.load(k.buffer(firstPart + 2), {readable, k.div(column, 32)}));
        k.store(k.select(real, m, k.constF32(0.0)), offsetMemory, {g, lane});
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
  std::string name = ("codebook_" + lora::stringifyFormatKind(format.kind)).str();
  auto module = k.function()->getParentOfType<ModuleOp>();
  auto type = MemRefType::get({16}, k.f32());
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto values = DenseElementsAttr::get(RankedTensorType::get({16}, k.f32()), format.codebook());
    memref::GlobalOp::create(b, k.location(), name, b.getStringAttr("private"), type, values,
                             /*constant=*/true, IntegerAttr());
  }
  return memref::GetGlobalOp::create(b, k.location(), type, name);
}

Value PanelDecoder::lookUp(Value codes) {
  ArrayRef<float> table = format.codebook();
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
  auto code = [&](Type element, int64_t lane) {
    return k.vload(k.vec(element, k.lanes()), k.buffer(firstPart), {panel, kk, k.index(lane)});
  };
  switch (format.kind) {
  case FormatKind::F32:
    for (int64_t lane = 0; lane < panelRows; lane += k.lanes())
      result.push_back(code(k.f32(), lane));
    return result;
  case FormatKind::F16:
  case FormatKind::BF16:
    for (int64_t lane = 0; lane < panelRows; lane += k.lanes()) {
      Value bits = code(k.i16(), lane);
      result.push_back(format.kind == FormatKind::F16 ? k.f16ToF32(bits) : k.bf16ToF32(bits));
    }
    return result;
  case FormatKind::Q8_0:
    for (int64_t lane = 0; lane < panelRows; lane += k.lanes())
      result.push_back(k.mulf(k.toFloat(k.sext(code(k.i8(), lane), k.vecI32()), k.vecF32()),
                              scales.scale[lane / k.lanes()]));
    return result;
  default:
    break;
  }
  for (const auto &[i, codes] : llvm::enumerate(nibbles(panel, kk))) {
    if (format.isFlatBlocked()) {
      result.push_back(k.mulf(lookUp(codes), scales.scale[i]));
      continue;
    }
    Value nibble = k.andi(codes, k.splatI32(15));
    if (format.kind == FormatKind::Q4_0)
      nibble = k.sub(nibble, k.splatI32(8));
    Value value = k.mulf(k.toFloat(nibble, k.vecF32()), scales.scale[i]);
    result.push_back(scales.offset.empty() ? value : k.addf(value, scales.offset[i]));
  }
  return result;
}
