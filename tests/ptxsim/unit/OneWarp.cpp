#include "tests/ptxsim/unit/OneWarp.h"

namespace ptxsim {

std::vector<Register> OneWarp::run(const std::string &code, const std::vector<Register> &inputs,
                                   size_t results) {
  constexpr size_t words = 1024;
  auto number = [](size_t k) { return std::to_string(k); };
  name = "test" + number(runs++); // one of its own in the context
  std::string ptx =
      ".shared .align 16 .b8 tile[4096];\n.visible .entry " + name +
      "(.param .u64 registers, .param .u64 results, .param .u64 fill,"
      " .param .u64 in, .param .u64 out)\n{\n.reg .b32 %s, %t, %u, %lane, %i<20>, %o<20>;\n"
      ".reg .pred %p, %q;\n.reg .b64 %x, %in, %out, %at;\nmov.u32 %lane, %laneid;\n"
      "ld.param.u64 %in, [in]; ld.param.u64 %out, [out]; mov.u32 %s, tile;\n";
  // The tile: 4 bytes a lane and step.
  if (!shared.empty()) {
    ptx += "ld.param.u64 %at, [fill]; mul.wide.u32 %x, %lane, 4; add.s64 %at, %at, %x;\n"
           "mad.lo.u32 %u, %lane, 4, %s;\n";
    for (size_t at = 0; at < 4 * words; at += 128)
      ptx += "ld.global.u32 %t, [%at+" + number(at) + "]; st.shared.u32 [%u+" + number(at) +
             "], %t;\n";
    ptx += "bar.warp.sync -1;\n";
  }
  ptx += "ld.param.u64 %at, [registers]; mul.wide.u32 %x, %lane, 4; add.s64 %at, %at, %x;\n";
  for (size_t k = 0; k < inputs.size(); ++k)
    ptx += "ld.global.u32 %i" + number(k) + ", [%at+" + number(128 * k) + "];\n";
  ptx += code + "\nld.param.u64 %at, [results]; mul.wide.u32 %x, %lane, 4; add.s64 %at, %at, %x;\n";
  for (size_t k = 0; k < results; ++k)
    ptx += "st.global.u32 [%at+" + number(128 * k) + "], %o" + number(k) + ";\n";
  gpu.load(ptx + "ret;\n}\n");

  auto filled = [&](std::vector<uint32_t> values) {
    values.resize(words, 0);
    return gpu.upload(values);
  };
  std::vector<Register> given = inputs, taken(results);
  given.resize(given.size() + 1); // never empty
  CUdeviceptr to = gpu.allocate(sizeof(Register) * (results + 1)), out = filled({});
  gpu.launch(name, {}, {32}, 0, gpu.upload(given), to, filled(shared), filled(global), out);
  if (results)
    taken = gpu.download<Register>(to, results);
  written = gpu.download<uint32_t>(out, words);
  return taken;
}

} // namespace ptxsim
