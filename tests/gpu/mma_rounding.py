"""mma_rounding.py SIMULATOR [LIBCUDA]: how the hardware's tensor cores round, beside the modes of tests/ptxsim.

The same random fragments go through mma.sync.m16n8k16 of the GPU and of the simulator in each of its modes (PTXSIM_MMA). Printed for
each: the share of results with the same bits, and the largest difference from the exact sum, of the sum of magnitudes.
"""
import os
import random
import struct
import subprocess
import sys

from driver import Driver

CASES = 512
MODES = ["sequential", "double", "truncating"]


def ptx(kind):
    words = lambda base, first, count, of: "\n".join(f"  ld.global.{of} %{base}{i}, [%p{first}+{4 * i}];" for i in range(count))
    return f"""
.version 7.0
.target sm_80
.address_size 64
.visible .entry product(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)
{{
  .reg .b32 %a<4>, %b<2>, %t<4>;
  .reg .f32 %c<4>;
  .reg .b64 %p<4>, %o<4>;
  ld.param.u64 %p0, [a];
  ld.param.u64 %p1, [b];
  ld.param.u64 %p2, [c];
  ld.param.u64 %p3, [d];
  mov.u32 %t0, %ctaid.x;
  mov.u32 %t1, %tid.x;
  mad.lo.s32 %t2, %t0, 32, %t1;
  mul.wide.s32 %o0, %t2, 16;
  mul.wide.s32 %o1, %t2, 8;
  add.s64 %p0, %p0, %o0;
  add.s64 %p1, %p1, %o1;
  add.s64 %p2, %p2, %o0;
  add.s64 %p3, %p3, %o0;
{words("a", 0, 4, "b32")}
{words("b", 1, 2, "b32")}
{words("c", 2, 4, "f32")}
  mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32 {{%c0, %c1, %c2, %c3}}, {{%a0, %a1, %a2, %a3}}, {{%b0, %b1}}, {{%c0, %c1, %c2, %c3}};
  st.global.f32 [%p3], %c0;
  st.global.f32 [%p3+4], %c1;
  st.global.f32 [%p3+8], %c2;
  st.global.f32 [%p3+12], %c3;
  ret;
}}
"""


def bits16(kind, value):
    if kind == "f16":
        return struct.unpack("<H", struct.pack("<e", value))[0]
    return struct.unpack("<I", struct.pack("<f", value))[0] >> 16


def number16(kind, bits):
    if kind == "f16":
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def operands(kind):
    draw = random.Random(7)
    value = lambda: draw.gauss(0, 1) * 2.0 ** draw.randint(-3, 3)
    halves = lambda count: [bits16(kind, value()) for _ in range(count)]
    return halves(CASES * 32 * 8), halves(CASES * 32 * 4), [value() * 4 for _ in range(CASES * 32 * 4)]


def run(library, kind):
    a, b, c = operands(kind)
    device = Driver(library)
    inputs = [device.upload(struct.pack(f"<{len(a)}H", *a)), device.upload(struct.pack(f"<{len(b)}H", *b)),
              device.upload(struct.pack(f"<{len(c)}f", *c))]
    out = device.allocate(len(c) * 4)
    device.launch(device.function(ptx(kind), "product"), CASES, 32, [*inputs, out])
    device.wait()
    return device.download(out, len(c) * 4)


def exact(kind):
    """Of each result in the order of the registers: the sum in double, and the sum of magnitudes.

    PTX ISA, "Matrix Fragments for mma.m16n8k16": group = lane / 4 and four = lane % 4; A's half 2r+h of register r stands in row
    group + 8 (r odd) and column 2 four + h + 8 (r > 1); B's in row 2 four + h + 8 r and column group; C's register e in row
    group + 8 (e > 1) and column 2 four + e % 2.
    """
    a, b, c = operands(kind)
    for case in range(CASES):
        rows = [[0.0] * 16 for _ in range(16)]
        columns = [[0.0] * 16 for _ in range(8)]
        for lane in range(32):
            group, four = divmod(lane, 4)
            for half in range(8):
                register, h = divmod(half, 2)
                rows[group + 8 * (register % 2)][2 * four + h + 8 * (register // 2)] = number16(kind, a[(case * 32 + lane) * 8 + half])
            for half in range(4):
                register, h = divmod(half, 2)
                columns[group][2 * four + h + 8 * register] = number16(kind, b[(case * 32 + lane) * 4 + half])
        for lane in range(32):
            group, four = divmod(lane, 4)
            for e in range(4):
                start = struct.unpack("<f", struct.pack("<f", c[(case * 32 + lane) * 4 + e]))[0]
                terms = [x * y for x, y in zip(rows[group + 8 * (e // 2)], columns[2 * four + e % 2])] + [start]
                yield sum(terms), sum(map(abs, terms))


def main(simulator, hardware="libcuda.so.1"):
    for kind in ["bf16", "f16"]:
        truth = list(exact(kind))
        measured = run(hardware, kind)

        def line(name, data):
            same = sum(data[i:i + 4] == measured[i:i + 4] for i in range(0, len(data), 4)) / (len(data) // 4)
            values = struct.unpack(f"<{len(data) // 4}f", data)
            worst = max(abs(v - s) / m for v, (s, m) in zip(values, truth))
            print(f"{kind:5} {name:12} {100 * same:6.2f} % of the hardware's bits, off by at most {worst:.2e} of the magnitudes")

        line("hardware", measured)
        for mode in MODES:
            done = subprocess.run([sys.executable, __file__, "--simulate", simulator, kind], env={**os.environ, "PTXSIM_MMA": mode},
                                  capture_output=True, check=True)
            line(mode, done.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "--simulate":
        sys.stdout.buffer.write(run(*sys.argv[2:]))
    else:
        main(*sys.argv[1:])
