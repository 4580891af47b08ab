// One instruction on 32 lanes: its operands come from memory, its result goes there.
#ifndef PTXSIM_UNIT_EVALUATE_H
#define PTXSIM_UNIT_EVALUATE_H

#include "tests/ptxsim/unit/Gpu.h"
#include <type_traits>

namespace ptxsim {

/// The PTX register type that holds a C++ value.
template <class T>
std::string registerType() {
  if constexpr (std::is_same_v<T, float>)
    return "f32";
  else if constexpr (std::is_same_v<T, double>)
    return "f64";
  else
    return "b" + std::to_string(8 * sizeof(T));
}

/// Runs `code`, which reads %a, %b, %c (one for each vector of values; values of lane 0, 1 …; the
/// last value goes on to lane 31) and writes %d. %p and %q are predicates, %t a 32-bit register to
/// use.
template <class D, class... S>
std::vector<D> evaluate(const std::string &code, std::vector<S>... sources) {
  constexpr const char *names[] = {"a", "b", "c", "e"};
  std::string params = ".param .u64 pd", body, store;
  int place = 0;
  auto read = [&](const std::string &type, size_t size) {
    std::string name = names[place++];
    params += ", .param .u64 p" + name;
    body += ".reg ." + type + " %" + name + ";\n.reg .b64 %x" + name + ", %y" + name + ";\n" +
            "ld.param.u64 %x" + name + ", [p" + name + "];\n" + "mul.wide.u32 %y" + name +
            ", %lane, " + std::to_string(size) + ";\nadd.s64 %x" + name + ", %x" + name + ", %y" +
            name + ";\nld.global." + type + " %" + name + ", [%x" + name + "];\n";
  };
  (read(registerType<S>(), sizeof(S)), ...);
  std::string type = registerType<D>();
  std::string ptx = ".visible .entry one(" + params + ")\n{\n.reg .b32 %lane, %t;\n" +
                    ".reg .pred %p, %q;\n.reg ." + type + " %d;\n.reg .b64 %xd, %yd;\n" +
                    "mov.u32 %lane, %laneid;\n" + body + code + "\n" +
                    "ld.param.u64 %xd, [pd];\nmul.wide.u32 %yd, %lane, " +
                    std::to_string(sizeof(D)) + ";\nadd.s64 %xd, %xd, %yd;\nst.global." + type +
                    " [%xd], %d;\nret;\n}\n";
  Gpu gpu;
  gpu.load(ptx);
  auto full = [&](auto values) {
    values.resize(32, values.back());
    return gpu.upload(values);
  };
  size_t count = std::max({sources.size()...});
  CUdeviceptr result = gpu.allocate(32 * sizeof(D));
  gpu.launch("one", {}, {32}, 0, result, full(sources)...);
  EXPECT_TRUE(gpu.findings().empty()) << code;
  std::vector<D> values = gpu.download<D>(result, 32);
  values.resize(count);
  return values;
}

/// `body` as the code of a kernel with pointers %out and %in and a shared array `tile` of 4096
/// bytes; %r0-%r9 are 32-bit registers, %rd0-%rd9 64-bit, %f0-%f9 floats, %h0-%h3 16-bit, %p0-%p3
/// predicates. %r0 is the thread, %rd0 the address of its word in `out`, %rd1 that in `in`.
std::string kernel(const std::string &body);

} // namespace ptxsim

#endif
