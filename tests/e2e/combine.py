"""`lorac combine` against PEFT's numbers (tests/golden/merge): python3 combine.py COMMAND ...

adapters GOLDEN DIR          the adapters that PEFT combined, as folders of DIR
combos GOLDEN                the names of the combinations
arguments GOLDEN DIR COMBO   what combine takes for one of them, a word a line
compare GOLDEN DIR COMBO OUT fails where the adapter OUT is another one than PEFT's
signs GOLDEN DIR OUT         OUT is 'ties' of a4 and d4 at density 0.6, weights 0.9 and -0.4, where counts elect the signs
draws DIR A D OUT            what dare_linear drew of a4 (A, weights 1 and 0) and of d4 (D, weights 0 and 1) at density 0.5 is a half
                             of the elements, doubled; and dare_ties (OUT, weights 1 and 1) is the mean of what agrees
edit FILE KEY VALUE          a key of a JSON file as VALUE, which is JSON
narrow ADAPTER COPY          a copy whose A of v_proj have a column less
based ADAPTER COPY FACTS     a copy that says which model it is for, in JSON
"""
import json, math, pathlib, shutil, struct, sys

from golden_opt import PEFT, tensors_of

TOLERANCE = 1e-4


def header_of(path):
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return header, data[8 + length:]


def write_tensors(path, tensors, metadata=None):
    """tensors: name -> (dtype, shape, bytes)"""
    header, offset = {"__metadata__": metadata} if metadata else {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def write_adapter(folder, source, name, r, alpha):
    header, data = header_of(source)
    folder.mkdir(parents=True)
    tensors = {key.removeprefix(name + "."): (info["dtype"], info["shape"], data[slice(*info["data_offsets"])])
               for key, info in header.items() if key.startswith(name + ".")}
    assert tensors, name
    write_tensors(folder / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "r": r, "lora_alpha": alpha, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def weighted(golden):
    merge = pathlib.Path(golden) / "merge"
    return json.loads((merge / "weighted.json").read_text()), merge


def adapters(golden, folder):
    facts, merge = weighted(golden)
    folder = pathlib.Path(folder)
    for name, adapter in facts["adapters"].items():
        write_adapter(folder / name, merge / "weighted_in.safetensors", name, adapter["r"], adapter["alpha"])
    # tests/golden/README.md: of r 3 and alpha 6
    write_adapter(folder / "other", merge / "adalora_other.safetensors", "other", 3, 6)
    shutil.copytree(pathlib.Path(golden) / "adalora/tied/adapter_final", folder / "ada")


def combos(golden):
    print("\n".join(weighted(golden)[0]["combos"]))


def arguments(golden, folder, name):
    combo = weighted(golden)[0]["combos"][name]
    print("\n".join(f"{folder}/{adapter}" for adapter in combo["adapters"]))
    print("\n".join(["--method", combo["type"], "--weights", *map(str, combo["weights"])]))
    for flag in ("svd_rank", "density"):
        if flag in combo:
            print(f"--{flag.replace('_', '-')}\n{combo[flag]}")


def product(b, a, rank):
    """B·A of flat [out, rank] and [rank, in], flat, in double precision."""
    width = len(a) // rank
    columns = [a[i::width] for i in range(width)]
    rows = [b[i:i + rank] for i in range(0, len(b), rank)]
    return [math.fsum(map(float.__mul__, row, column)) for row in rows for column in columns]


def modules_of(path):
    """module -> (A, B, rank), of LoRA's names"""
    header, _ = header_of(path)
    values = tensors_of(path)
    names = [name.removesuffix(".lora_A.weight") for name in values if name.endswith(".lora_A.weight")]
    assert len(names) * 2 == len(values), sorted(values)
    return {name.removeprefix(PEFT): (values[name + ".lora_A.weight"], values[name + ".lora_B.weight"],
                                      header[name + ".lora_A.weight"]["shape"][0]) for name in names}


def largest_difference(ours, theirs):
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    return max(abs(a - b) for a, b in zip(ours, theirs))


def compare(golden, folder, name, out):
    facts, merge = weighted(golden)
    combo, out = facts["combos"][name], pathlib.Path(out)
    config = json.loads((out / "adapter_config.json").read_text())
    ours = modules_of(out / "adapter_model.safetensors")
    assert config["r"] == combo["r"], (config["r"], combo["r"])
    for module, (_, _, rank) in ours.items():  # every scale is 1
        assert config.get("rank_pattern", {}).get(module, config["r"]) == rank, module
        assert config.get("alpha_pattern", {}).get(module, config["lora_alpha"]) == rank, module
    theirs = {key.removeprefix(name + "."): values for key, values in tensors_of(merge / "weighted_out.safetensors").items()
              if key.startswith(name + ".")}
    assert theirs, name
    worst = 0.0
    for key, values in theirs.items():
        if key.startswith("delta."):
            a, b, rank = ours[key.removeprefix("delta.")]
            worst = max(worst, largest_difference(product(b, a, rank), values))
        else:
            module, part = key.rsplit(".", 1)
            worst = max(worst, largest_difference(ours[module][part == "lora_B"], values))
    # All modules of all adapters: what PEFT's numbers leave out, by the formula.
    inputs = [modules_of(pathlib.Path(folder) / adapter / "adapter_model.safetensors") for adapter in combo["adapters"] if adapter != "ada"]
    assert set().union(*inputs) <= set(ours), sorted(ours)
    if combo["type"] == "cat" and "ada" not in combo["adapters"]:
        for module, (a, b, rank) in ours.items():
            wanted = [0.0] * (len(b) // rank * (len(a) // rank))
            for adapter, weight, tensors in zip(combo["adapters"], combo["weights"], inputs):
                scale = facts["adapters"][adapter]["alpha"] / facts["adapters"][adapter]["r"]
                theirs = product(tensors[module][1], tensors[module][0], tensors[module][2])
                wanted = [x + weight * scale * y for x, y in zip(wanted, theirs)]
            worst = max(worst, largest_difference(product(b, a, rank), wanted))
    print(f"{name}: largest difference {worst:.2g}")
    sys.exit(not worst < TOLERANCE)


def edit(path, key, value):
    path = pathlib.Path(path)
    config = json.loads(path.read_text())
    config[key] = json.loads(value)
    path.write_text(json.dumps(config))


def sign(x):
    return (x > 0) - (x < 0)


def agreeing_mean(tasks, weights, vote):
    out = []
    for values in zip(*tasks):
        elected = 1 if sum(map(vote, values)) >= 0 else -1
        agreeing = [weight * value for weight, value in zip(weights, values) if sign(value) == elected]
        out.append(sum(agreeing) / max(len(agreeing), 1))
    return out


def pruned(values, density):
    largest = sorted(range(len(values)), key=lambda i: -abs(values[i]))[:int(density * len(values))]
    return [value if i in set(largest) else 0.0 for i, value in enumerate(values)]


def signs(golden, folder, out):
    facts, _ = weighted(golden)
    names, weights = ("a4", "d4"), (0.9, -0.4)
    inputs = [modules_of(pathlib.Path(folder) / name / "adapter_model.safetensors") for name in names]
    strengths = [weight * facts["adapters"][name]["alpha"] / facts["adapters"][name]["r"] for name, weight in zip(names, weights)]
    ours, worst = modules_of(pathlib.Path(out) / "adapter_model.safetensors"), 0.0
    for module, tensors in ours.items():
        for part in (0, 1):
            roots = [math.sqrt(abs(s)) * (sign(s) if part == 0 else 1) for s in strengths]
            wanted = agreeing_mean([pruned(adapter[module][part], 0.6) for adapter in inputs], roots, sign)
            worst = max(worst, largest_difference(tensors[part], wanted))
    print(f"signs by their count: largest difference {worst:.2g}")
    sys.exit(not worst < TOLERANCE)


def draws(folder, of_a, of_d, out):
    def read(path):
        return modules_of(pathlib.Path(path) / "adapter_model.safetensors")
    inputs, drawn, ties = [read(f"{folder}/{name}") for name in ("a4", "d4")], [read(of_a), read(of_d)], read(out)
    scales, kept, count, worst = (2, 0.75), [0, 0], 0, 0.0
    for module, tensors in ties.items():
        for part in (0, 1):
            roots = [math.sqrt(scale) for scale in scales]
            for i, (adapter, made) in enumerate(zip(inputs, drawn)):
                for value, left in zip(adapter[module][part], made[module][part]):
                    assert left == 0 or math.isclose(left, 2 * roots[i] * value, rel_tol=1e-6), (module, left, value)
                    kept[i] += left != 0
            count += len(tensors[part])
            tasks = [[x / root for x in made[module][part]] for root, made in zip(roots, drawn)]
            worst = max(worst, largest_difference(tensors[part], agreeing_mean(tasks, roots, float)))
    print(f"kept {kept} of {count}; dare_ties: largest difference {worst:.2g}")
    assert all(abs(n - count / 2) < 4 * math.sqrt(count / 4) for n in kept)
    sys.exit(not worst < TOLERANCE)


def copy_of(adapter, copy, change, metadata=None):
    header, data = header_of(pathlib.Path(adapter) / "adapter_model.safetensors")
    shutil.copytree(adapter, copy)
    tensors = {name: change(name, info["dtype"], info["shape"], data[slice(*info["data_offsets"])]) for name, info in header.items()}
    write_tensors(pathlib.Path(copy) / "adapter_model.safetensors", tensors, metadata)


def narrow(adapter, copy):
    def change(name, dtype, shape, data):
        if "v_proj.lora_A" not in name:
            return dtype, shape, data
        row = 4 * shape[1]
        return dtype, [shape[0], shape[1] - 1], b"".join(data[i * row:(i + 1) * row - 4] for i in range(shape[0]))
    copy_of(adapter, copy, change)


def based(adapter, copy, facts):
    copy_of(adapter, copy, lambda name, *tensor: tensor, {"lorac_base": facts})


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
