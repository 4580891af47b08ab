"""Which modules get an adapter, and with what rank and scale: selection.py LORAC GOLDEN FOLDER.

Each configuration of tests/golden/variants/selection.json, which PEFT resolved, as a spec of the same words: `lorac explain` must have
PEFT's modules, ranks and scales, and refuse what PEFT refuses.
"""
import json, pathlib, re, subprocess, sys

from golden_opt import steps_of, toml

lorac, golden, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])

# What PEFT does, and this version does not: configurations by number, and what is said of them.
LATER = {25: "an adapter on 'lm_head' is known, not in this version", 30: "an adapter on 'embed_tokens' is known, not in this version",
         27: "'adapter.lora_alpha' must be greater than 0, got 0"}
# What is said where PEFT refuses too: its words, and ours.
REFUSED = [(r"Target modules \{'proj'\}", "no module is named 'proj'"), (r"Target modules \{'nothing'\}", "no module is named 'nothing'"),
           (r"'layers_to_transform': \[9\]", "no module of 'target_modules' is in layer 9: they are in layers from 0 to 1"),
           (r"'layers_pattern': blocks", "no module has a layer's number behind such a name"),
           (r"cannot be used when `target_modules` is a str", "'layers_to_transform' is for a list of names in 'target_modules'"),
           (r"`layers_to_transform` must also be specified", "'layers_pattern' says nothing without 'layers_to_transform'"),
           (r"mismatched target modules and excluded modules", "'exclude_modules' leaves out all that 'target_modules' names"),
           (r"`r` should be a positive integer", "rank must be positive, got 0"),
           (r"LlamaRMSNorm", "no module is named 'input_layernorm'"), (r"LlamaMLP", "no module is named 'mlp'")]


def must(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


selection = json.loads((golden / "variants/selection.json").read_text())
must(len(selection["cases"]) == 31, "not all configurations")
used = set()
for number, case in enumerate(selection["cases"]):
    config = {**selection["defaults"], **case["config"]}
    path = folder / f"case{number}.toml"
    path.write_text(f'[model]\nsource = "{golden}/tiny/untied"\n[adapter]\n' + "".join(f"{key} = {toml(value)}\n" for key, value in config.items()) +
                    steps_of(golden, 10, save_steps=0) + "\n")
    run = subprocess.run([lorac, "explain", path, "--json"], capture_output=True, text=True)
    said = run.stdout + run.stderr
    about = f"configuration {number}, {case['config']}: {said}"
    if number in LATER:
        must(run.returncode == 3 and LATER[number] in said, about)
        continue
    if "error" in case:
        ours = [words for theirs, words in REFUSED if re.search(theirs, case["error"])]
        must(len(ours) == 1, f"{case['error']}: {ours}")
        used.add(ours[0])
        must(run.returncode == 3 and ours[0] in said, about)
        continue
    must(run.returncode == 0, about)
    explained, modules = json.loads(run.stdout), {}
    for tensor in explained["tensors"]:
        modules[tensor["name"].rsplit(".", 1)[0]] = (tensor["rank"], tensor["scale"])
        must(tensor["rank"] in tensor["shape"], about)
    must(modules.keys() == case["modules"].keys(), about)
    for module, (rank, scale) in case["modules"].items():
        must(modules[module][0] == rank and abs(modules[module][1] / scale - 1) < 1e-12, f"{module} of {about}")
    # A pattern that matches nothing changes nothing, and is said with its key.
    warned = re.findall(r"were ignored: \['(.*)'\]", "".join(case.get("warnings", [])))
    must(explained["warnings"] == [f"'{key}' in 'adapter.rank_pattern' matches the end of no adapted module's name: it changes nothing"
                                   for key in warned], about)
must(used == {words for _, words in REFUSED}, "a message was not asked for")
print(f"{len(selection['cases'])} configurations")
