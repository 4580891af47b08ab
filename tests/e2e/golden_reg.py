"""Runs of tests/golden/reg, which torch made, as specs and as numbers to hold: 10 steps of the tied model, each with one
more term of the loss or another decay.

spec GOLDEN              what all runs share, as a spec; its own keys are --set
compare GOLDEN RUN OUT   fails where the output folder OUT of a run has other numbers (after the first update the goldens
                         hold one module)
losses GOLDEN RUN OUT TOLERANCE  the losses alone, of a run in 16 bits
"""
import json, pathlib, sys

from golden_opt import Comparison, losses_of, of_largest, relative, steps_of, tensors_of


def read(golden):
    return json.loads((pathlib.Path(golden) / "reg/reg.json").read_text())


def spec(golden):
    made = read(golden)
    optimizer, start = made["optimizer"], (pathlib.Path(golden) / "reg" / made["initial_adapter"]).resolve()
    adapter = json.loads((start / "adapter_config.json").read_text())
    print(f"""[model]
source = "{golden}/tiny/tied"
[adapter]
r = {adapter["r"]}
lora_alpha = {adapter["lora_alpha"]}
init_from = "{start}"
[optimizer]
name = "adamw"
learning_rate = {optimizer["lr"]}
betas = {optimizer["betas"]}
eps = {optimizer["eps"]}
weight_decay = {optimizer["weight_decay"]}
max_grad_norm = 0.0
{steps_of(golden, 10, save_steps=1)}""")


def losses(golden, name, out, tolerance):
    held = Comparison()
    held.holds("losses, relative", relative([line["loss"] for line in losses_of(out)], read(golden)["runs"][name]["losses"]), float(tolerance))
    sys.exit(not held.good)


def compare(golden, name, out):
    run, steps = read(golden)["runs"][name], losses_of(out)
    held = Comparison()
    held.holds("losses, relative", relative([line["loss"] for line in steps], run["losses"]), 2e-5)
    ours, begin = tensors_of(f"{out}/checkpoint-1/adapter_model.safetensors"), f"{name}.after1."
    theirs = {n[len(begin):]: t for n, t in tensors_of(f"{golden}/reg/reg.safetensors").items() if n.startswith(begin)}
    assert len(theirs) == 2, sorted(theirs)
    held.holds("after the first update, of a tensor's largest", max(of_largest(ours[n], t) for n, t in theirs.items()), 2e-3)
    sys.exit(not held.good)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
