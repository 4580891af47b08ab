"""roofline.py BUILD [LIBCUDA] [--spec SPEC]: times each kernel of a QLoRA step on this GPU, beside its floor and cuBLAS.

The spec is tests/gpu/llama3_8b_slice.toml: two layers of Llama-3-8B, one sample of 4096 tokens, weights drawn. Ceilings are measured
first: a copy of 1 GiB (bytes read and written) and cuBLAS' product of 8192 x 8192 x 8192 in bf16. A kernel's floor is the larger of its
FLOP over the one and its bytes over the other. Medians of what `train --profile` saw; linears also beside cuBLAS' dense product of the
same shape, which reads 16-bit weights where lorac's reads 4-bit ones and adds the low-rank update.
"""
import ctypes
import glob
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from ctypes import byref, c_float, c_int, c_size_t, c_void_p
from pathlib import Path

from driver import Driver

HERE = Path(__file__).resolve().parent
TOKENS, VOCABULARY, STEPS = 4096, 128256, 6


class Blas:
    """cublasGemmEx, bf16 in and out, float32 sums."""

    def __init__(self):
        places = [os.environ.get("LORAC_CUBLAS", ""), "libcublas.so.13", "libcublas.so.12", "/usr/local/cuda/lib64/libcublas.so"]
        for folder in sys.path:
            places += glob.glob(f"{folder}/nvidia/*/lib/libcublas.so.*")
        self.lib = None
        for place in filter(None, places):
            try:
                self.lib = ctypes.CDLL(place)
                break
            except OSError:
                continue
        if not self.lib:
            return
        self.handle = c_void_p()
        self.lib.cublasCreate_v2(byref(self.handle))

    def product(self, a, b, c, rows, n, k, transposed):
        """c[rows, n] = a[rows, k] times W: W is [n, k] where `transposed`, else [k, n]. cuBLAS counts by columns."""
        one, zero, bf16, float32 = c_float(1), c_float(0), c_int(14), c_int(68)
        status = self.lib.cublasGemmEx(self.handle, c_int(1 if transposed else 0), c_int(0), c_int(n), c_int(rows), c_int(k), byref(one), b,
                                       bf16, c_int(k if transposed else n), a, bf16, c_int(k), byref(zero), c, bf16, c_int(n), float32, c_int(-1))
        if status:
            raise RuntimeError(f"cublasGemmEx: status {status}")


def drawn(device, elements):
    """bf16 numbers about 1: a drawn MiB, again and again."""
    draw = random.Random(3)
    piece = b"".join(struct.pack("<f", draw.gauss(0, 1))[2:] for _ in range(1 << 16))
    return device.upload((piece * (elements // (1 << 16) + 1))[:elements * 2])


def ceilings(device, blas):
    size = 1 << 30
    a, b = device.allocate(size), device.allocate(size)
    copy = device.median_seconds(lambda: device.call("cuMemcpyDtoDAsync_v2", a, b, c_size_t(size), c_void_p()))
    device.free(a), device.free(b)
    if not blas.lib:
        return 2 * size / copy, None
    edge = 8192
    a, b, c = drawn(device, edge * edge), drawn(device, edge * edge), device.allocate(edge * edge * 2)
    seconds = device.median_seconds(lambda: blas.product(a, b, c, edge, edge, edge, True))
    for memory in (a, b, c):
        device.free(memory)
    return 2 * size / copy, 2 * edge**3 / seconds


def dense(device, blas, row, plan):
    """Seconds of cuBLAS' product of a linear's shape; None for other kernels."""
    shape = re.match(r"linear_(forward|backward)_[^_]*_(\d+)x(\d+)", row["kernel"])
    if not shape or not blas.lib:
        return None
    forward, n, k = shape[1] == "forward", int(shape[2]), int(shape[3])
    rows = next(launch["rows"][1] for launch in plan["programs"]["train"] if plan["kernels"][launch["kernel"]]["name"] == row["kernel"])
    depth, width = (k, n) if forward else (n, k)
    a, b, c = drawn(device, rows * depth), drawn(device, n * k), device.allocate(rows * width * 2)
    seconds = device.median_seconds(lambda: blas.product(a, b, c, rows, width, depth, forward))
    for memory in (a, b, c):
        device.free(memory)
    return seconds


def tokens_file(path):
    draw = random.Random(5)
    count = 8 * TOKENS
    ids = struct.pack(f"<{count}i", *(draw.randrange(VOCABULARY) for _ in range(count)))
    entry = lambda at: {"dtype": "I32", "shape": [8, 1, TOKENS], "data_offsets": [at, at + len(ids)]}
    header = json.dumps({"input_ids": entry(0), "labels": entry(len(ids))}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + ids + ids)


def profiled(build, spec, arch, folder):
    tokens_file(folder / "tokens.safetensors")
    (folder / "spec.toml").write_text(spec.read_text())
    compiled = os.environ.get("LORAC_COMPILED") or folder / "compiled"
    if not os.environ.get("LORAC_COMPILED"):
        subprocess.run([build / "lorac", "compile", folder / "spec.toml", "--target", "cuda", "--arch", arch, "-o", compiled], check=True)
    subprocess.run([Path(compiled) / "train", "--steps", str(STEPS), "--out", folder / "out", "--profile", folder / "profile.json"], check=True,
                   cwd=folder)
    return json.loads((folder / "profile.json").read_text()), json.loads((Path(compiled) / "plan.json").read_text())


def main(build, library="libcuda.so.1", spec=HERE / "llama3_8b_slice.toml", arch=None):
    device, blas = Driver(library), Blas()
    arch = arch or "sm_%d%d" % device.capability()
    bandwidth, peak = ceilings(device, blas)
    with tempfile.TemporaryDirectory() as folder:
        profile, plan = profiled(Path(build).resolve(), Path(spec), arch, Path(folder))
    print(f"{device.name()}, driver for CUDA {device.version()}, {arch}; copy {bandwidth / 1e9:.0f} GB/s, cuBLAS bf16 "
          + (f"{peak / 1e12:.0f} TFLOP/s" if peak else "not found"))
    print(f"{profile['tokens_per_second']:.0f} tokens/s with each launch timed; kernels {profile['kernels_seconds'] / STEPS * 1e3:.2f} ms a step; "
          f"{profile['peak_memory_bytes'] / 2**20:.0f} MiB\n")
    print("| program | kernel | calls a step | us a call | TFLOP/s | GB/s | floor / time | cuBLAS dense us |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for row in profile["kernels"]:
        each = row["seconds"] / row["calls"]
        floor = max(row["flops"] / row["calls"] / (peak or 1e99), row["bytes"] / row["calls"] / bandwidth)
        other = dense(device, blas, row, plan) if row["program"] == "train" else None
        print(f"| {row['program']} | `{row['kernel']}` | {row['calls'] / STEPS:.0f} | {each * 1e6:.1f} | {row['flops'] / row['seconds'] / 1e12:.1f} | "
              f"{row['bytes'] / row['seconds'] / 1e9:.0f} | {floor / each:.2f} | {'' if other is None else f'{other * 1e6:.1f}'} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
