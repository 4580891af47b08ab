"""DoRA's numbers, formed from files alone in double precision: python3 dora.py COMMAND ...

norms ADAPTER WEIGHTS                  each magnitude is the norm of its row of W
zero_row MODEL COPY TENSOR ROW         a copy of the model in which that row is 0
merged ADAPTER SCALE WEIGHTS MERGED    W' = magnitude / norm(W + s B A) · (W + s B A), row by row, is what MERGED holds
"""
import json, math, pathlib, shutil, struct, sys

from golden_opt import tensors_of

PREFIX, MAGNITUDE = "base_model.model.", ".lora_magnitude_vector"


def rows_of(values, count):
    width = len(values) // count
    return [values[row * width:(row + 1) * width] for row in range(count)]


def norm(row):
    return math.sqrt(math.fsum(x * x for x in row))


def modules_of(adapter):
    return [name[len(PREFIX):-len(MAGNITUDE)] for name in adapter if name.endswith(MAGNITUDE)]


def norms(path, weights):
    adapter, weights = tensors_of(path), tensors_of(weights)
    modules = modules_of(adapter)
    assert len(modules) == 14, modules
    for module in modules:
        magnitude = adapter[PREFIX + module + MAGNITUDE]
        weight = weights.get(module + ".weight") or weights["dequant." + module]
        for m, row in zip(magnitude, rows_of(weight, len(magnitude)), strict=True):
            assert abs(m / norm(row) - 1) < 5e-7, (module, m, norm(row))


def zero_row(model, copy, tensor, row):
    shutil.copytree(model, copy)
    path = pathlib.Path(copy) / "model.safetensors"
    data = bytearray(path.read_bytes())
    size, = struct.unpack("<Q", data[:8])
    at = json.loads(data[8:8 + size])[tensor]
    begin, end = (8 + size + offset for offset in at["data_offsets"])
    width = (end - begin) // at["shape"][0]
    begin += int(row) * width
    data[begin:begin + width] = bytes(width)
    path.write_bytes(data)


def merged(path, scale, weights, merged):
    adapter, weights, merged = tensors_of(path), tensors_of(weights), tensors_of(merged)
    assert merged
    for name, wanted in merged.items():
        module = PREFIX + name.removesuffix(".weight")
        magnitude = adapter[module + MAGNITUDE]
        b = rows_of(adapter[module + ".lora_B.weight"], len(magnitude))
        a = rows_of(adapter[module + ".lora_A.weight"], len(b[0]))
        largest = max(map(abs, wanted))
        for m, w, of_b, row in zip(magnitude, rows_of(weights[name], len(b)), b, rows_of(wanted, len(b)), strict=True):
            sums = [x + float(scale) * math.fsum(p * q[k] for p, q in zip(of_b, a)) for k, x in enumerate(w)]
            for x, y in zip(sums, row, strict=True):
                assert abs(m / norm(sums) * x - y) < 1e-6 * largest, (name, m / norm(sums) * x, y)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
