"""Runs of tests/golden/variants, which PEFT made, as specs and as numbers to hold: 10 steps from the golden's own first adapter.

start GOLDEN RUN FOLDER    writes the first adapter into FOLDER, as PEFT saves it
spec GOLDEN RUN FOLDER     the spec of the run from there
compare GOLDEN RUN OUT     fails where the output folder OUT of a run has other numbers (of final tensors the goldens hold layer 0)
"""
import json, pathlib, sys

import foreign
from golden_opt import Comparison, losses_of, of_largest, relative, steps_of, tensors_of


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
    word = lambda key: str(config[key]).lower()
    quantization = f'[quantization]\nformat = "nf4"\nblock_size = 64\ndouble_quant = {str(name.endswith("_dq")).lower()}\n' if name.startswith("q") else ""
    print(f"""[model]
source = "{golden}/tiny/tied"
{quantization}[adapter]
r = {config["r"]}
lora_alpha = {config["lora_alpha"]}
use_dora = {word("use_dora")}
use_rslora = {word("use_rslora")}
init_from = "{folder}"
[optimizer]
learning_rate = {optimizer["lr"]}
betas = {optimizer["betas"]}
eps = {optimizer["eps"]}
weight_decay = {optimizer["weight_decay"]}
max_grad_norm = 0.0
{steps_of(golden, 10, save_steps=0)}""")


def compare(golden, name, out):
    run, path = read(golden, name)
    theirs, ours = tensors_of(path), tensors_of(f"{out}/adapter_model.safetensors")
    held = Comparison()
    held.holds("losses, relative", relative([line["loss"] for line in losses_of(out)], run["losses"]), 2e-5)
    final = {n[6:]: t for n, t in theirs.items() if n.startswith("final.")}
    assert len(final) == 21 and len(ours) == 42, (len(final), len(ours))
    for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"):
        held.holds(f"{part} at the end, of a tensor's largest", max(of_largest(ours[n], t) for n, t in final.items() if n.endswith(part)), 1e-2)
    sys.exit(not held.good)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
