"""`lorac combine --models` against mergekit's numbers (tests/golden/merge): python3 combine_models.py COMMAND ...

models GOLDEN DIR            the base, the models of tests/golden/merge, and two that are far apart, as folders of DIR
names GOLDEN                 the sums that draw nothing
arguments GOLDEN DIR NAME    what combine takes for one of them, a word a line
compare GOLDEN DIR NAME OUT  fails where the model OUT is another one than mergekit's
dare DIR OUT                 OUT is the base and a half of what ft0 changed, at its whole size
bfloat16 DIR OUT             a copy of the base in bfloat16
rounded DIR OUT              OUT is ft0, rounded to bfloat16
equal A B                    two folders hold the same tensors
poison DIR OUT               a copy of ft0 with a NaN
"""
import array, json, math, pathlib, shutil, struct, sys

from combine import header_of, largest_difference, write_tensors
from golden_opt import tensors_of

TOLERANCE = 1e-6
NORMALIZES = ("linear", "ties")  # where nothing is said
FAR = "model.layers.0.self_attn.k_proj.weight"


def facts_of(golden):
    merge = pathlib.Path(golden) / "merge"
    return json.loads((merge / "models.json").read_text()), merge / "models.safetensors"


def change_model(base, folder, change):
    """A copy in which `change(name, dtype, shape, bytes)` may return other ones."""
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("[dlr]*"))  # no adapters
    header, data = header_of(pathlib.Path(base) / "model.safetensors")
    tensors = {name: change(name, info["dtype"], info["shape"], data[slice(*info["data_offsets"])]) for name, info in header.items()}
    path = pathlib.Path(folder) / "model.safetensors"
    path.unlink()
    write_tensors(path, tensors, {"format": "pt"})


def replaced(tensors):
    return lambda name, dtype, shape, data: (dtype, shape, tensors[name].tobytes() if name in tensors else data)


def models(golden, folder):
    facts, path = facts_of(golden)
    stored, folder = tensors_of(path), pathlib.Path(folder)
    folder.mkdir(parents=True)
    source = pathlib.Path(golden) / "tiny/untied"
    change_model(source, folder / "base", replaced({}))
    (folder / "base/tokenizer.json").write_text('{"of": "base"}')
    (folder / "base/chat_template.jinja").write_text("{{ messages }}")
    (folder / "base/modeling_tiny.py").write_text("raise SystemExit")
    for model in facts["models"]:
        change_model(source, folder / model, replaced({name: stored[f"{model}.{name}"] for name in facts["tensors"]}))
    for i in (0, 1):
        change_model(source, folder / f"far{i}", replaced({FAR: stored[f"slerp_far.v{i}"]}))


def names(golden):
    facts, _ = facts_of(golden)
    print("\n".join([name for name in facts["methods"] if name != "slerp" and not name.startswith("dare")] +
                    [f"slerp_{t}" for t in facts["methods"]["slerp"]["t"]] + ["slerp_far"]))


def arguments(golden, folder, name):
    facts, _ = facts_of(golden)
    if name.startswith("slerp"):
        pair, t = (("far0", "far1"), 0.4) if name == "slerp_far" else (("ft0", "ft1"), name.removeprefix("slerp_"))
        words = ["--models", *(f"{folder}/{model}" for model in pair), "--method", "slerp", "--t", t, "--base", f"{folder}/base"]
        return print("\n".join(map(str, words)))
    run = facts["methods"][name]
    method = run.get("method", "linear")
    words = ["--models", *(f"{folder}/{model}" for model in facts["models"]), "--base", f"{folder}/base", "--method", method, "--weights", *run["weights"]]
    if run["normalize"] != (method in NORMALIZES):
        words += ["--normalize", str(run["normalize"]).lower()]
    if run.get("density"):
        words += ["--density", *run["density"]]
    if run.get("lambda", 1) != 1:
        words += ["--lambda", run["lambda"]]
    if "gamma" in run:
        words += ["--gamma", run["gamma"]]
    print("\n".join(map(str, words)))


def compare(golden, folder, name, out):
    facts, path = facts_of(golden)
    stored, ours = tensors_of(path), tensors_of(pathlib.Path(out) / "model.safetensors")
    base = tensors_of(pathlib.Path(folder) / "base/model.safetensors")
    theirs = {FAR: stored["slerp_far.t0.4"]} if name == "slerp_far" else {tensor: stored[f"{name}.{tensor}"] for tensor in facts["tensors"]}
    assert set(ours) == set(base), set(ours) ^ set(base)
    times = sum(facts["methods"][name]["weights"]) if name == "linear_nonorm" else 1  # of tensors that are equal in all
    worst = max(largest_difference(values, theirs[tensor] if tensor in theirs else [times * x for x in base[tensor]])
                for tensor, values in ours.items())
    print(f"{name}: largest difference {worst:.2g}")
    sys.exit(not worst < TOLERANCE)


def dare(folder, out):
    base, tuned, ours = (tensors_of(pathlib.Path(path) / "model.safetensors") for path in (f"{folder}/base", f"{folder}/ft0", out))
    changed = [name for name in base if base[name] != tuned[name]]
    assert len(changed) == 3, changed
    kept = count = 0
    for name in base:
        wanted, made = ([x - b for x, b in zip(model[name], base[name])] for model in (tuned, ours))
        size = sum(map(abs, wanted))
        assert abs(sum(map(abs, made)) - size) <= 1e-4 * size + 1e-9, name
        if name not in changed:
            continue
        factor = size / sum(abs(x) for x, y in zip(wanted, made) if y != 0)
        assert all(y == 0 or abs(y - factor * x) < TOLERANCE for x, y in zip(wanted, made)), name
        kept += sum(y != 0 for y in made)
        count += sum(x != 0 for x in wanted)
    print(f"kept {kept} of {count}")
    assert abs(kept - count / 2) < 4 * math.sqrt(count / 4)


def bits_of(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def nearest_bfloat16(value):
    bits = bits_of(value)
    return bits + 0x7fff + (bits >> 16 & 1) >> 16


def bfloat16(folder, out):
    def change(name, dtype, shape, data):
        return "BF16", shape, array.array("H", map(nearest_bfloat16, array.array("f", data))).tobytes()
    change_model(f"{folder}/base", out, change)


def rounded(folder, out):
    header, data = header_of(pathlib.Path(out) / "model.safetensors")
    tuned = tensors_of(pathlib.Path(folder) / "ft0/model.safetensors")
    assert set(header) == set(tuned)
    for name, info in header.items():
        assert info["dtype"] == "BF16", name
        ours = array.array("H", data[slice(*info["data_offsets"])])
        assert list(ours) == list(map(nearest_bfloat16, tuned[name])), name


def equal(a, b):
    def all_of(folder):
        out = {}
        for path in sorted(pathlib.Path(folder).glob("model*.safetensors")):
            header, data = header_of(path)
            out.update({name: (info["dtype"], info["shape"], data[slice(*info["data_offsets"])]) for name, info in header.items()})
        return out
    a, b = all_of(a), all_of(b)
    assert a and a == b, [name for name in a.keys() | b.keys() if a.get(name) != b.get(name)]


def poison(folder, out):
    def change(name, dtype, shape, data):
        return dtype, shape, data if name != FAR else data[:4 * 70] + struct.pack("<f", math.nan) + data[4 * 71:]
    change_model(f"{folder}/ft0", out, change)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
