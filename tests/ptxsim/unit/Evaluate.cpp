#include "tests/ptxsim/unit/Evaluate.h"

namespace ptxsim {

std::string kernel(const std::string &body) {
  return R"(.shared .align 16 .b8 tile[4096];
.visible .entry test(.param .u64 out, .param .u64 in)
{
.reg .pred %p<4>;
.reg .b16 %h<4>;
.reg .b32 %r<10>;
.reg .b64 %rd<10>, %out, %in;
.reg .f32 %f<10>;
ld.param.u64 %out, [out];
ld.param.u64 %in, [in];
mov.u32 %r0, %tid.x;
mul.wide.u32 %rd2, %r0, 4;
add.s64 %rd0, %out, %rd2;
add.s64 %rd1, %in, %rd2;
)" + body +
         "\nret;\n}\n";
}

} // namespace ptxsim
