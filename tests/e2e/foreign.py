"""Makes foreign files for tests out of a small Hugging Face model: python3 foreign.py COMMAND ...

config IN OUT KEY=JSON...    a JSON file with keys changed; KEY=- takes one away
value IN OUT TENSOR AT TEXT  a safetensors file with one float32 value changed (nan, inf, 1e30)
rename IN OUT PREFIX         the first tensor called PREFIX...
copy IN OUT TENSOR NEW [ADD] one more tensor NEW with TENSOR's values, ADD added to each
shards IN FOLDER COUNT       model-0000N-of-0000M.safetensors and their index
shape IN OUT                 an adapter's tensors twice as wide: lora_A [r, 2 in], lora_B [2 out, r]
gguf DIR OUT [KEY=TYPE:VALUE...] [--adapter] [--architecture NAME]
                             the model as a GGUF file of float32; keys added or changed
"""
import array
import json
import struct
import sys


def read(path):
    data = open(path, "rb").read()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    meta = header.pop("__metadata__", None)
    tensors = {n: [t["dtype"], t["shape"], data[8 + length + t["data_offsets"][0]:8 + length + t["data_offsets"][1]]]
               for n, t in header.items()}
    return tensors, meta


def write(path, tensors, meta=None):
    header, offset = ({"__metadata__": meta} if meta else {}), 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            out.write(data)


def floats(tensor):
    assert tensor[0] == "F32"
    values = array.array("f")
    values.frombytes(tensor[2])
    return values


def config(source, target, *changes):
    data = json.load(open(source))
    for change in changes:
        key, value = change.split("=", 1)
        at = data
        *path, last = key.split("/")
        for part in path:
            at = at.setdefault(part, {})
        if value == "-":
            at.pop(last, None)
        else:
            at[last] = json.loads(value)
    json.dump(data, open(target, "w"), indent=1)


def value(source, target, name, at, text):
    tensors, meta = read(source)
    values = floats(tensors[name])
    values[int(at)] = float(text)
    tensors[name][2] = values.tobytes()
    write(target, tensors, meta)


def rename(source, target, prefix):
    tensors, meta = read(source)
    name = next(iter(tensors))
    write(target, {(prefix + n if n == name else n): t for n, t in tensors.items()}, meta)


def copy(source, target, name, new, add="0"):
    tensors, meta = read(source)
    values = array.array("f", [v + float(add) for v in floats(tensors[name])])
    tensors[new] = ["F32", tensors[name][1], values.tobytes()]
    write(target, tensors, meta)


def shape(source, target):
    tensors, meta = read(source)
    for name, (dtype, (rows, cols), data) in tensors.items():
        values = floats(tensors[name])
        if "lora_A" in name:
            wide = array.array("f")
            for row in range(rows):
                wide += values[row * cols:(row + 1) * cols] + values[row * cols:(row + 1) * cols]
            tensors[name] = [dtype, [rows, 2 * cols], wide.tobytes()]
        else:
            tensors[name] = [dtype, [2 * rows, cols], (values + values).tobytes()]
    write(target, tensors, meta)


def shards(source, folder, count):
    tensors, _ = read(source)
    names, count = list(tensors), int(count)
    where = {}
    for i in range(count):
        file = "model-%05d-of-%05d.safetensors" % (i + 1, count)
        part = names[i * len(names) // count:(i + 1) * len(names) // count]
        write(folder + "/" + file, {n: tensors[n] for n in part})
        where.update({n: file for n in part})
    json.dump({"metadata": {}, "weight_map": where}, open(folder + "/model.safetensors.index.json", "w"))


NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}
IN_LAYER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
            "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
            "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return "blk.%s.%s.weight" % (layer, IN_LAYER[rest[:-len(".weight")]])


def gguf(folder, target, *rest):
    rest = list(rest)
    arch = "llama"
    if "--architecture" in rest:
        at = rest.index("--architecture")
        arch = rest[at + 1]
        del rest[at:at + 2]
    c = json.load(open(folder + "/config.json"))
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    dim = c.get("head_dim") or c["hidden_size"] // heads
    theta = (c.get("rope_parameters") or {}).get("rope_theta", c.get("rope_theta", 10000.0))
    keys = {"general.architecture": ("s", arch), "general.type": ("s", "model")}
    for key, kind, item in [("block_count", "u", c["num_hidden_layers"]), ("context_length", "u", c["max_position_embeddings"]),
                            ("embedding_length", "u", c["hidden_size"]), ("feed_forward_length", "u", c["intermediate_size"]),
                            ("attention.head_count", "u", heads), ("attention.head_count_kv", "u", kv),
                            ("rope.freq_base", "f", theta), ("attention.layer_norm_rms_epsilon", "f", c["rms_norm_eps"]),
                            ("attention.key_length", "u", dim), ("attention.value_length", "u", dim),
                            ("rope.dimension_count", "u", dim), ("vocab_size", "u", c["vocab_size"])]:
        keys["%s.%s" % (arch, key)] = (kind, item)
    for change in rest:
        key, item = change.split("=", 1)
        kind, text = item.split(":", 1)
        keys[key] = (kind, {"s": str, "u": int, "f": float, "b": lambda t: t == "true"}[kind](text))
    tensors = {}
    for name, tensor in read(folder + "/model.safetensors")[0].items():
        rows = tensor[1][0]
        values = floats(tensor)
        count = heads if ".q_proj." in name else kv if ".k_proj." in name else 0
        if count:  # rows (half, j) of a head stand at (j, half)
            cols, per = tensor[1][1], rows // count
            out = array.array("f")
            for row in range(rows):
                head, at = divmod(row, per)
                old = head * per + at % 2 * (per // 2) + at // 2
                out += values[old * cols:(old + 1) * cols]
            values = out
        tensors[gguf_name(name)] = (tensor[1], values.tobytes())

    def text(t):
        raw = t.encode()
        return struct.pack("<Q", len(raw)) + raw

    body = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, (kind, item) in keys.items():
        body += text(key) + {"s": lambda: struct.pack("<I", 8) + text(item), "u": lambda: struct.pack("<II", 4, item),
                             "f": lambda: struct.pack("<If", 6, item), "b": lambda: struct.pack("<IB", 7, item)}[kind]()
    offset = 0
    for name, (dims, data) in tensors.items():
        body += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in reversed(dims))
        body += struct.pack("<IQ", 0, offset)
        offset += len(data) + -len(data) % 32
    with open(target, "wb") as out:
        out.write(body + b"\0" * (-len(body) % 32))
        for _, data in tensors.values():
            out.write(data + b"\0" * (-len(data) % 32))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
