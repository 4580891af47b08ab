"""Merged models against what PEFT and bitsandbytes make, and inputs for it: python3 merge.py COMMAND ...

floats MERGED GOLDEN TOLERANCE      each tensor of GOLDEN is in MERGED, within TOLERANCE of its largest value
kept MERGED BASE                    each tensor of BASE that is no linear's has the same bytes in MERGED
halves MERGED GOLDEN PREFIX         each tensor of GOLDEN with this prefix is in MERGED, to the bit but for one in a thousand
codes MERGED GOLDEN PREFIX          the same of NF4: 99.99 % of the codes, and all that stands beside them
shares REPORT GOLDEN KEY [STATE]    what survives, by module and in all, is what PEFT's run KEY has within 1e-3
losses REPORT GOLDEN KEY            its losses are those of PEFT's run within 2e-5
convert MODEL COPY DTYPE            a copy of a folder with its tensors in BF16 or F16
first DATA COPY                     a copy of token data with the first step alone
variant GOLDEN NAME FOLDER          the adapter that a run of variants.json ended with, layer 0 alone
rank1 MODULE OUT IN VALUE FOLDER    an adapter of rank 1 whose update is VALUE everywhere
keys GGUF BASE                      the keys of BASE stand in GGUF, but for those of the file's type
typed GGUF TENSOR TYPE              a tensor's type, by ggml's number
model GGUF BASE                     both have the same tensors, to the byte
copied GGUF BASE TENSOR             a tensor's bytes are those of BASE
blocks GGUF FLOATS TYPE             each tensor of a type of blocks is that of FLOATS, a GGUF in float32, within half a step
"""
import array, json, math, pathlib, shutil, struct, sys

PREFIX = "base_model.model."
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def header_of(path):
    data = pathlib.Path(path).read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return header, data[8 + size:]


def raw_of(path):
    """Name: (dtype, shape, bytes) of a file, or of a folder's shards."""
    path = pathlib.Path(path)
    if path.is_dir():
        index = path / "model.safetensors.index.json"
        names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
        return {name: tensor for file in names for name, tensor in raw_of(path / file).items()}
    header, data = header_of(path)
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for name, t in header.items()}


def floats_of(tensor):
    dtype, _, data = tensor
    if dtype == "F16":
        return list(struct.unpack(f"<{len(data) // 2}e", data))
    if dtype == "BF16":
        data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
    return list(array.array("f", data))


def rounded(values, dtype):
    if dtype == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    out = bytearray()
    for bits, in struct.iter_unpack("<I", array.array("f", values).tobytes()):
        out += struct.pack("<H", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    return bytes(out)


def write(path, tensors):
    header, body = {}, b""
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def named(merged, golden, prefix):
    """Pairs of tensors for each one of GOLDEN with the prefix."""
    merged, golden = raw_of(merged), raw_of(golden)
    found = [(name, merged, golden[name]) for name in golden if name.startswith(prefix)]
    assert found, prefix
    return found


def floats(merged, golden, tolerance):
    for name, all_of, wanted in named(merged, golden, ""):
        is_, was = floats_of(all_of[name]), floats_of(wanted)
        worst = max(abs(a - b) for a, b in zip(is_, was, strict=True))
        assert all_of[name][1] == wanted[1] and worst <= float(tolerance) * max(map(abs, was)), (name, worst)


def kept(merged, base):
    merged, base = raw_of(merged), raw_of(base)
    assert set(merged) == set(base), set(merged) ^ set(base)
    for name, tensor in base.items():
        if name.split(".")[-2] not in LINEARS:
            assert merged[name] == tensor, name


def halves(merged, golden, prefix):
    for name, all_of, wanted in named(merged, golden, prefix):
        dtype, shape, data = all_of[name[len(prefix):] + ".weight"]
        assert [dtype, shape] == list(wanted[:2]), name
        other = sum(data[i:i + 2] != wanted[2][i:i + 2] for i in range(0, len(data), 2))
        assert other <= len(data) / 2000, (name, other)


def codes(merged, golden, prefix):
    wrong = count = 0
    for name, all_of, wanted in named(merged, golden, prefix):
        module, part = name[len(prefix):].rsplit(".", 1)
        weight = module + ".weight"
        state = json.loads(all_of[weight + ".quant_state.bitsandbytes__nf4"][2])
        if part == "packed":
            data = all_of[weight][2]
            assert all_of[weight][1] == [len(data), 1] and len(data) == len(wanted[2]), name
            for a, b in zip(data, wanted[2]):
                wrong += (a >> 4 != b >> 4) + (a & 15 != b & 15)
            count += 2 * len(data)
        elif part == "absmax_u8":
            data = all_of[weight + ".absmax"][2]
            assert sum(a != b for a, b in zip(data, wanted[2], strict=True)) <= len(data) / 1000, name
        elif part == "offset":
            value, = floats_of(wanted)
            assert abs(state["nested_offset"] - value) <= 2e-7 * abs(value), (name, state, value)
        else:
            for a, b in zip(floats_of(all_of[f"{weight}.{part}"]), floats_of(wanted), strict=True):
                assert abs(a - b) <= 1e-6 * abs(b), (name, a, b)
        assert state["quant_type"] == "nf4" and state["blocksize"] == 64 and state["dtype"] == "float32", state
    assert count and wrong <= count / 10000, (wrong, count)


def shares(report, golden, key, state=None):
    report = json.loads(pathlib.Path(report).read_text())
    run = json.loads(pathlib.Path(golden).read_text())["nf4"][key]
    of = lambda figures: (figures[state] if state else figures)["along"]
    assert set(report["modules"]) == set(run["linears"])
    for module, figures in run["linears"].items():
        assert abs(report["modules"][module] - of(figures)) < 1e-3, (module, report["modules"][module], of(figures))
    assert abs(report["along"] - of(run["all"])) < 1e-3, (report["along"], of(run["all"]))


def losses(report, golden, key):
    report = json.loads(pathlib.Path(report).read_text())["losses"]
    run = json.loads(pathlib.Path(golden).read_text())["nf4"][key]
    for ours, name in (("base", "loss_base_nf4"), ("adapted", "loss_adapter_over_nf4"), ("merged", "loss_merged_nf4")):
        assert abs(report[ours] / run[name] - 1) < 2e-5, (ours, report[ours], run[name])


def convert(model, copy, dtype):
    shutil.copytree(model, copy, ignore=lambda folder, names: [name for name in names if pathlib.Path(folder, name).is_dir()])
    path = pathlib.Path(copy) / "model.safetensors"
    tensors = raw_of(path)
    write(path, {name: (dtype, shape, rounded(floats_of((was, shape, data)), dtype)) for name, (was, shape, data) in tensors.items()})


def first(data, copy):
    write(copy, {name: (dtype, [1] + shape[1:], raw[:len(raw) // shape[0]]) for name, (dtype, shape, raw) in raw_of(data).items()})


def variant(golden, name, folder):
    folder, golden = pathlib.Path(folder), pathlib.Path(golden)
    folder.mkdir()
    config = json.loads((golden / "variants.json").read_text())["runs"][name]["config"]
    keys = ("r", "lora_alpha", "target_modules", "bias", "use_rslora", "use_dora")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"} | {key: config[key] for key in keys}))
    tensors = raw_of(golden / f"{name}.safetensors")
    write(folder / "adapter_model.safetensors", {key[6:]: tensors[key] for key in tensors if key.startswith("final.")})


def rank1(module, out, in_, value, folder):
    folder, out, in_ = pathlib.Path(folder), int(out), int(in_)
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": [module]}))
    of = lambda shape, x: ("F32", shape, array.array("f", [x] * (shape[0] * shape[1])).tobytes())
    write(folder / "adapter_model.safetensors", {f"{PREFIX}{module}.lora_A.weight": of([1, in_], 1.0),
                                                 f"{PREFIX}{module}.lora_B.weight": of([out, 1], float(value))})


class Gguf:
    """Keys as their bytes; tensors as (type, shape, bytes)."""
    SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    BLOCKS = {0: (1, 4), 1: (1, 2), 3: (32, 20), 8: (32, 34), 30: (1, 2)}

    def __init__(self, path):
        self.data, self.at = pathlib.Path(path).read_bytes(), 8
        assert self.data[:4] == b"GGUF"
        count, keys = self.number("Q"), self.number("Q")
        self.keys = {}
        for _ in range(keys):
            name = self.text()
            begin = self.at
            self.value(self.number("I"))
            self.keys[name] = self.data[begin:self.at]
        heads = []
        for _ in range(count):
            name = self.text()
            shape = [self.number("Q") for _ in range(self.number("I"))]
            heads.append((name, shape, self.number("I"), self.number("Q")))
        start = (self.at + 31) // 32 * 32
        self.tensors = {}
        for name, shape, type_, offset in heads:
            values, size = self.BLOCKS.get(type_, (1, 0))
            self.tensors[name] = type_, shape, self.data[start + offset:start + offset + math.prod(shape) // values * size]

    def number(self, code):
        value, = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize(code)
        return value

    def text(self):
        size = self.number("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def value(self, type_):
        if type_ == 8:
            self.text()
        elif type_ == 9:
            element, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.value(element)
        else:
            self.at += self.SIZES[type_]


def keys(gguf, base):
    of_file = {"general.file_type", "general.quantization_version"}
    gguf, base = Gguf(gguf).keys, Gguf(base).keys
    assert {key: value for key, value in base.items() if key not in of_file} == {key: value for key, value in gguf.items() if key not in of_file}
    assert of_file <= set(gguf)


def typed(gguf, tensor, type_):
    assert Gguf(gguf).tensors[tensor][0] == int(type_), Gguf(gguf).tensors[tensor][:2]


def model(gguf, base):
    gguf, base = Gguf(gguf).tensors, Gguf(base).tensors
    assert set(gguf) == set(base), set(gguf) ^ set(base)
    for name, tensor in base.items():
        assert gguf[name] == tensor, (name, gguf[name][:2], tensor[:2])


def copied(gguf, base, tensor):
    assert Gguf(base).tensors[tensor][2] and Gguf(gguf).tensors[tensor] == Gguf(base).tensors[tensor]


def blocks(gguf, floats, type_):
    gguf, floats = Gguf(gguf).tensors, Gguf(floats).tensors
    tensors = {name: data for name, (kind, _, data) in gguf.items() if kind == int(type_)}
    assert len(tensors) > 3
    for name, data in tensors.items():
        wanted = memoryview(floats[name][2]).cast("f")
        size = Gguf.BLOCKS[int(type_)][1]
        assert len(data) // size * 32 == len(wanted), name
        for block in range(len(data) // size):
            raw = data[block * size:(block + 1) * size]
            if size == 34:  # d; 32 int8
                d, *of = struct.unpack("<e32b", raw)
                m = 0.0
            else:  # d; m; nibbles, the lower ones first
                d, m = struct.unpack("<2e", raw[:4])
                of = [byte & 15 for byte in raw[4:]] + [byte >> 4 for byte in raw[4:]]
            # d and m are rounded to 11 bits.
            slack = 0.5 * d + (127 if size == 34 else 15) * d / 2048 + abs(m) / 2048 + 1e-7
            for x, code in zip(wanted[32 * block:32 * block + 32], of, strict=True):
                assert abs(code * d + m - x) <= slack, (name, block, code, d, m, x)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
