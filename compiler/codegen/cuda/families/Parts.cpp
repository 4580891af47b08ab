#include "compiler/codegen/cuda/families/Parts.h"

using namespace mlir;
using namespace lorac::cuda;

Int Parts::pick(StringRef name, llvm::function_ref<int64_t(size_t)> of) const {
  SmallVector<std::optional<Int>> values;
  bool equal = true;
  for (size_t part = 0; part < count; ++part) {
    values.push_back(d.constant(of(part)));
    equal &= of(part) == of(0);
  }
  return equal ? *values.front() : pick(name, values);
}

Num Parts::pickNum(StringRef name, llvm::function_ref<double(size_t)> of) const {
  Num value = d.number(of(0));
  bool equal = true;
  for (size_t part = 1; part < count; ++part) {
    value = d.select(index == int64_t(part), d.number(of(part)), value);
    equal &= of(part) == of(0);
  }
  return equal ? d.number(of(0)) : d.named(name, value);
}

Int Parts::pick(StringRef name, ArrayRef<std::optional<Int>> values) const {
  std::optional<Int> value;
  for (auto [part, each] : llvm::enumerate(values))
    if (each)
      value = value ? d.select(index == int64_t(part), *each, *value) : *each;
  return d.known(*value) ? *value : d.named(name, *value);
}

Value Parts::pick(StringRef name, ArrayRef<Value> memories) const {
  Value memory;
  for (auto [part, each] : llvm::enumerate(memories))
    if (each)
      memory = memory ? d.select(name, index == int64_t(part), each, memory) : each;
  return memory;
}

void Parts::from(size_t part, llvm::function_ref<void(size_t)> body) const {
  if (std::optional<int64_t> known = d.known(index))
    return body(*known);
  if (part + 1 == count)
    return body(part);
  d.where(index == int64_t(part), [&] { body(part); }, [&] { from(part + 1, body); });
}
