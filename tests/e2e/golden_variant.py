"""Runs of tests/golden/variants, which PEFT made, as specs and as numbers to hold: 10 steps from the golden's own first adapter.

start GOLDEN RUN FOLDER    writes the first adapter into FOLDER, as PEFT saves it
spec GOLDEN RUN FOLDER     the spec of the run from there
compare GOLDEN RUN OUT     fails where the output folder OUT of a run has other numbers (of final tensors the goldens hold layer 0)
"""
import json, math, pathlib, re, sys

import foreign
from golden_opt import Comparison, losses_of, of_largest, relative, steps_of, tensors_of, toml


def read(golden, name):
    folder = pathlib.Path(golden) / "variants"
    return json.loads((folder / "variants.json").read_text())["runs"][name], folder / f"{name}.safetensors"


def start(golden, name, folder):
    run, path = read(golden, name)
    tensors, _ = foreign.read(path)
    foreign.write(f"{folder}/adapter_model.safetensors", {n[5:]: t for n, t in tensors.items() if n.startswith("init.")})
    pathlib.Path(folder, "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **run["config"]}))


def spec(golden, name, folder):
    run, _ = read(golden, name)
    config, optimizer = run["config"], run["optimizer"]
    quantization = f'[quantization]\nformat = "nf4"\nblock_size = 64\ndouble_quant = {str(name.endswith("_dq")).lower()}\n' if name.startswith("q") else ""
    words = ("r", "lora_alpha", "use_dora", "use_rslora", "target_modules", "rank_pattern", "alpha_pattern")
    adapter = "\n".join(f"{word} = {toml(config[word])}" for word in words if word in config)
    print(f"""[model]
source = "{golden}/tiny/tied"
{quantization}[adapter]
{adapter}
init_from = "{folder}"
[optimizer]
learning_rate = {optimizer["lr"]}
betas = {optimizer["betas"]}
eps = {optimizer["eps"]}
weight_decay = {optimizer["weight_decay"]}
max_grad_norm = 0.0
{steps_of(golden, 10, save_steps=0)}""")


def saved_as_peft_reads_it(out, modules):
    """adapter_config.json by PEFT's rules: {module: [rank, scale]} must come back."""
    config = json.loads(pathlib.Path(out, "adapter_config.json").read_text())
    first = lambda patterns, module, otherwise: next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), otherwise)
    assert sorted(config["target_modules"]) == sorted(modules), config
    for module, (rank, scale) in modules.items():
        r = first(config.get("rank_pattern", {}), module, config["r"])
        alpha = first(config.get("alpha_pattern", {}), module, config["lora_alpha"])
        assert r == rank and math.isclose(alpha / r, scale, rel_tol=1e-12), (module, r, alpha)


def compare(golden, name, out):
    run, path = read(golden, name)
    theirs, ours = tensors_of(path), tensors_of(f"{out}/adapter_model.safetensors")
    held = Comparison()
    held.holds("losses, relative", relative([line["loss"] for line in losses_of(out)], run["losses"]), 2e-5)
    final = {n[6:]: t for n, t in theirs.items() if n.startswith("final.")}
    parts = ["lora_A.weight", "lora_B.weight"] + ["lora_magnitude_vector"] * run["config"]["use_dora"]
    modules = len(run["config"]["target_modules"])
    assert len(final) == modules * len(parts) and len(ours) == 2 * len(final), (len(final), len(ours))
    for part in parts:
        held.holds(f"{part} at the end, of a tensor's largest", max(of_largest(ours[n], t) for n, t in final.items() if n.endswith(part)), 1e-2)
    if "modules" in run:
        saved_as_peft_reads_it(out, run["modules"])
    sys.exit(not held.good)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
