// The functions that printed kernels call.

#include "compiler/codegen/cuda/Prelude.h"
#include "runtime/abi.h"
#include "llvm/ADT/STLExtras.h"

#include <string>
#include <vector>

using namespace lorac;

namespace {

struct Function {
  const char *name;
  std::vector<const char *> calls;
  std::string text;
};

// wgmma.m64nNk16 of one element type: N / 2 accumulators, two descriptors.
std::string warpgroupMma(const std::string &type, int columns) {
  auto number = [](int k) { return std::to_string(k); };
  int count = columns / 2;
  std::string registers, operands;
  for (int k = 0; k < count; ++k) {
    registers += (k ? ", %" : "%") + number(k);
    operands += k == 0 ? "" : k % 8 ? ", " : ",\n                 ";
    operands += "\"+f\"(sums[" + number(k / 4) + "][" + number(k % 4) + "])";
  }
  std::string a = "%" + number(count), b = "%" + number(count + 1), high = "%" + number(count + 2),
              transposed = "%" + number(count + 3);
  return "template <int TransposedB>\nDEVICE void warpgroup_mma_" + type + "_" + number(columns) +
         "(float (&sums)[" + number(columns / 8) + "][4], u32 a, u32 b) {\n" +
         "  asm volatile(\"{ .reg .pred p; .reg .b64 a, b; setp.ne.b32 p, 1, 0; mov.b64 a, {" + a +
         ", " + high + "}; mov.b64 b, {" + b + ", " + high + "}; \"\n" +
         "               \"wgmma.mma_async.sync.aligned.m64n" + number(columns) + "k16.f32." +
         type + "." + type + " {" + registers + "}, a, b, p, 1, 1, 0, " + transposed +
         "; }\"\n               : " + operands +
         "\n               : \"r\"(a), \"r\"(b), \"r\"(descriptor_high), "
         "\"n\"(TransposedB));\n}\n";
}

// CUDA's names of the types in runtime/abi.h.
constexpr const char *cudaName(int64_t) { return "long long"; }
constexpr const char *cudaName(uint32_t) { return "u32"; }
constexpr const char *cudaName(float) { return "float"; }

std::string stepStruct() {
  std::string text = "struct LoracStep { // runtime/abi.h\n";
#define FIELD(type, name) text += std::string("  ") + cudaName(type()) + " " #name ";\n";
  LORAC_STEP_FIELDS(FIELD)
#undef FIELD
  return text + "};\n";
}

// In an order in which each comes behind what it calls.
const std::vector<Function> &functions() {
  static const std::vector<Function> all = {
      {"step", {}, stepStruct()},
      {"keep",
       {},
       R"(// The same number; ptxas computes what it sees again in every round of a loop.
DEVICE int keep(int x) {
  int r;
  asm volatile("mov.s32 %0, %1;" : "=r"(r) : "r"(x));
  return r;
}
)"},
      {"shared_address",
       {},
       R"(DEVICE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }
)"},
      {"copy_async", {"shared_address"}, R"(DEVICE void copy_async(void *to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
)"},
      {"copy_async_upto",
       {"shared_address"},
       R"(// Of the 16 bytes the first `size` are read, the others become zero.
DEVICE void copy_async_upto(void *to, const void *from, int size) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(size) : "memory");
}
)"},
      {"copy_commit",
       {},
       R"(DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
)"},
      {"copy_wait", {}, R"(template <int Groups>
DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory"); }
)"},
      {"ldmatrix", {"shared_address"}, R"(DEVICE void ldmatrix(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
)"},
      {"ldmatrix_trans",
       {"shared_address"},
       R"(DEVICE void ldmatrix_trans(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
)"},
      {"mma_bf16",
       {},
       R"(DEVICE void mma_bf16(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
)"},
      {"mma_f16", {}, R"(DEVICE void mma_f16(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
)"},
      {"descriptor",
       {"shared_address"},
       R"(// Matrix descriptors: rows of 128 swizzled bytes, eight of them 1024 bytes apart. The low half, without its begin: bytes / 16.
static const u32 descriptor_high = 1024 / 16 | 1u << 30;
DEVICE int descriptor(const void *tile, int lead) { return shared_address(tile) / 16 | lead / 16 << 16; }
)"},
      {"warpgroup_mma_bf16_128", {"descriptor"}, warpgroupMma("bf16", 128)},
      {"warpgroup_mma_bf16_256", {"descriptor"}, warpgroupMma("bf16", 256)},
      {"warpgroup_mma_f16_128", {"descriptor"}, warpgroupMma("f16", 128)},
      {"warpgroup_mma_f16_256", {"descriptor"}, warpgroupMma("f16", 256)},
      {"in_registers",
       {},
       R"(// The sums are in their registers here: nothing that uses them is moved across.
template <int Blocks, int Eights>
DEVICE void in_registers(float (&sums)[Blocks][Eights][4]) {
#pragma unroll
  for (int e = 0; e < Blocks * Eights * 4; ++e)
    asm volatile("" : "+f"(sums[e / 4 / Eights][e / 4 % Eights][e % 4])::"memory");
}
)"},
      {"warpgroup_fence", {"in_registers"}, R"(template <int Blocks, int Eights>
DEVICE void warpgroup_fence(float (&sums)[Blocks][Eights][4]) {
  in_registers(sums);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
)"},
      {"warpgroup_commit",
       {},
       R"(DEVICE void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
)"},
      {"warpgroup_wait", {}, R"(template <int Groups>
DEVICE void warpgroup_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Groups) : "memory"); }
)"},
      {"warpgroup_wait_for",
       {"in_registers", "warpgroup_wait"},
       R"(template <int Groups, int Blocks, int Eights>
DEVICE void warpgroup_wait_for(float (&sums)[Blocks][Eights][4]) {
  warpgroup_wait<Groups>();
  in_registers(sums);
}
)"},
      {"proxy_fence",
       {},
       R"(DEVICE void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
)"},
      {"widen_bf16",
       {},
       R"(DEVICE float widen_bf16(bf16 x) { return __uint_as_float((u32)x << 16); }
)"},
      {"narrow_bf16", {}, R"(DEVICE bf16 narrow_bf16(float x) {
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}
)"},
      {"pack_bf16", {}, R"(DEVICE u32 pack_bf16(float low, float high) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
)"},
      {"low_bf16", {}, R"(DEVICE float low_bf16(u32 pair) { return __uint_as_float(pair << 16); }
)"},
      {"high_bf16",
       {},
       R"(DEVICE float high_bf16(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
)"},
      {"mul_pairs_bf16",
       {},
       R"(DEVICE u32 mul_pairs_bf16(u32 x, u32 y) { // sm_80 has no mul.bf16x2: x * y + -0
  u32 r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(0x80008000u));
  return r;
}
)"},
      {"widen_f16", {}, R"(DEVICE float widen_f16(f16 x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x));
  return r;
}
)"},
      {"narrow_f16", {}, R"(DEVICE f16 narrow_f16(float x) {
  f16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}
)"},
      {"pack_f16", {}, R"(DEVICE u32 pack_f16(float low, float high) {
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
)"},
      {"low_f16", {"widen_f16"}, R"(DEVICE float low_f16(u32 pair) { return widen_f16((f16)pair); }
)"},
      {"high_f16",
       {"widen_f16"},
       R"(DEVICE float high_f16(u32 pair) { return widen_f16((f16)(pair >> 16)); }
)"},
      {"mul_pairs_f16", {}, R"(DEVICE u32 mul_pairs_f16(u32 x, u32 y) {
  u32 r;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
  return r;
}
)"},
      {"code_table",
       {},
       R"(// Sixteen numbers of 16 bits by their bytes: low ones in l, high ones in h, four a word.
struct Codes {
  u32 l[4], h[4], identity;
};
// ptxas would build these constants anew before each use; what comes out of memory stays in registers.
DEVICE Codes code_table(void *scratch, const u32 (&l)[4], const u32 (&h)[4]) {
  volatile u32 *words = (volatile u32 *)scratch;
  if (threadIdx.x < 4) {
    words[threadIdx.x] = threadIdx.x == 0 ? l[0] : threadIdx.x == 1 ? l[1] : threadIdx.x == 2 ? l[2] : l[3];
    words[4 + threadIdx.x] = threadIdx.x == 0 ? h[0] : threadIdx.x == 1 ? h[1] : threadIdx.x == 2 ? h[2] : h[3];
  }
  __syncthreads();
  u32 identity = 0x3210u;
  asm volatile("mov.u32 %0, %0;" : "+r"(identity));
  return {{words[0], words[1], words[2], words[3]}, {words[4], words[5], words[6], words[7]}, identity};
}
)"},
      {"decode",
       {"code_table"},
       R"(// Four 4-bit codes in the low half of w as numbers: two a register.
DEVICE void decode4(u32 w, const Codes &t, u32 &first, u32 &second) {
  u32 low_bits = w & 0x7777u, upper_half = ((w >> 1) & 0x4444u) | t.identity;
  u32 low = __byte_perm(__byte_perm(t.l[0], t.l[1], low_bits), __byte_perm(t.l[2], t.l[3], low_bits), upper_half);
  u32 high = __byte_perm(__byte_perm(t.h[0], t.h[1], low_bits), __byte_perm(t.h[2], t.h[3], low_bits), upper_half);
  first = __byte_perm(low, high, 0x5140), second = __byte_perm(low, high, 0x7362);
}
DEVICE void decode(u32 w, const Codes &t, u32 *pairs) {
  decode4(w, t, pairs[0], pairs[1]);
  decode4(w >> 16, t, pairs[2], pairs[3]);
}
)"},
      {"philox", {}, R"(// Word e % 4 of Philox4x32-10 (Salmon et al. 2011).
DEVICE u32 philox(long long e, u32 stream, u32 micro, u32 seed, u32 step) {
  u32 c[4] = {(u32)(e / 4), (u32)(e / 4 >> 32), stream, micro};
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const u32 high0 = __umulhi(0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0], high1 = __umulhi(0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
    c[0] = high1 ^ c[1] ^ (seed + round * 0x9E3779B9u), c[1] = low1, c[2] = high0 ^ c[3] ^ (step + round * 0xBB67AE85u), c[3] = low0;
  }
  return e % 4 == 0 ? c[0] : e % 4 == 1 ? c[1] : e % 4 == 2 ? c[2] : c[3];
}
)"},
      {"byte_of",
       {},
       R"(DEVICE float byte_of(u32 w, int byte) { return (float)(signed char)(w >> (8 * byte)); }
)"},
  };
  return all;
}

} // namespace

std::string cuda::prelude(const llvm::StringSet<> &used) {
  llvm::StringSet<> wanted = used;
  // Callers come behind what they call, so one pass from the end finds all.
  for (const Function &function : llvm::reverse(functions()))
    if (wanted.contains(function.name))
      for (const char *callee : function.calls)
        wanted.insert(callee);
  std::string text;
  size_t found = 0;
  for (const Function &function : functions())
    if (wanted.contains(function.name)) {
      text += function.text;
      ++found;
    }
  assert(found == wanted.size() && "the printer names functions that are here");
  (void)found;
  return text;
}
