"""lorac schema against the specs, against lorac's own checks, and as an editor reads it: schema.py LORAC SOURCE."""
import json, pathlib, subprocess, sys, tomllib

import jsonschema

lorac, source = sys.argv[1], pathlib.Path(sys.argv[2])
schema = json.loads(subprocess.run([lorac, "schema"], check=True, capture_output=True, text=True).stdout)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)


def must(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def fits(spec):
    return validator.is_valid(spec)


specs = {path.name: tomllib.loads(path.read_text()) for path in sorted((source / "specs").glob("*.toml"))}
must(len(specs) >= 7, "too few specs")
for name, spec in specs.items():
    must(fits(spec), f"{name}: {[e.message for e in validator.iter_errors(spec)]}")


def keys(table, path=()):
    """(path, schema) of each key that holds a value; a list of tables counts by its first."""
    for name, entry in table["properties"].items():
        inner = entry.get("items", entry)
        if "properties" in inner:
            must(entry.get("description"), f"[{name}] is not explained")
            yield from keys(inner, path + (name,) + ((0,) if "items" in entry else ()))
        else:
            yield path + (name,), entry


all_keys = dict(keys(schema))
must(len(all_keys) > 60, "too few keys")
base = specs["tiny_lora.toml"]


def with_key(path, value):
    spec = json.loads(json.dumps(base))
    at = spec
    for part, behind in zip(path, path[1:]):
        if isinstance(part, int):
            at = at[part]
        else:
            at = at.setdefault(part, [{}] if behind == 0 else {})
    at[path[-1]] = value
    if "rule" in path and path[-1] != "modules":
        at["modules"] = "q_proj"
    return spec


def checked(path, value):
    """What `lorac check` says of the key: the messages that name it."""
    if "rule" in path:
        return None  # no flag makes a table of a list
    # "sgd: …" is for that name of its table.
    owner = all_keys[path]["description"].partition(": ")[0]
    names = all_keys.get((path[0], "name"), {}).get("enum", [])
    named = ["--set", f"{path[0]}.name={owner}"] if owner in names else []
    flag = ".".join(str(part) for part in path) + "=" + json.dumps(value)
    run = subprocess.run([lorac, "check", source / "specs/tiny_lora.toml", "--set", "schedule.name=cosine", *named, "--set", flag],
                         capture_output=True, text=True)
    return run.returncode, run.stderr


tried = 0
for path, entry in all_keys.items():
    name = ".".join(map(str, path))
    must(entry.get("description"), f"{name} is not explained")
    if "default" in entry:
        must(fits(with_key(path, entry["default"])), f"the default of {name} does not fit")
    # Another type: the schema and lorac refuse it.
    wrong = 3.5 if entry.get("type") not in ("number",) else "x"
    must(not fits(with_key(path, wrong)), f"{name} = {wrong} fits the schema")
    if (said := checked(path, wrong)) is not None:
        must(said[0] == 3 and "must be" in said[1], f"{name} = {wrong}: lorac says {said}")
    # Just outside of the bounds, and on them.
    number, at = entry["items"] if entry.get("type") == "array" else entry, path
    if "anyOf" in entry:
        number = next((one for one in entry["anyOf"] if "minimum" in one), entry)
    elif entry.get("type") == "object":  # numbers by key
        number, at = entry["additionalProperties"], path + ("q_proj",)
    step = 1 if number.get("type") == "integer" else 1e-3
    for bound, out in (("minimum", -step), ("exclusiveMinimum", 0), ("maximum", step), ("exclusiveMaximum", 0)):
        if bound not in number or "enum" in number:
            continue
        value = number[bound] + out
        value = [value, value] if entry.get("type") == "array" else value
        must(not fits(with_key(at, value)), f"{name} = {value} fits the schema")
        if path[1] == "adalora" or path[-1] == "min_8bit_size":
            continue  # checked with their method, their optimizer
        if (said := checked(at, value)) is not None:
            must(said[0] == 3 and "must be" in said[1], f"{name} = {value}: lorac says {said}")
            tried += 1
    for word in entry.get("enum", []):
        must(fits(with_key(path, word)), f"{name} = {word} does not fit")
        if isinstance(word, str) and (said := checked(path, word)) is not None:
            must("must be one of" not in said[1], f"{name} = {word}: lorac says {said}")
must(tried > 25, f"only {tried} bounds were tried against lorac")

for wrong in ({"model": {}}, with_key(("adapter", "rank"), 8), with_key(("lora", "r"), 8), with_key(("data", 0, "path"), []),
              with_key(("quantization", "block_size"), 48), with_key(("model", "shape", "layers"), "two")):
    must(not fits(wrong), f"the schema lets through: {wrong}")

# docs/spec.md has the same keys.
page = (source / "docs/spec.md").read_text()
for path in all_keys:
    must(f"| `{path[-1]}` |" in page, f"docs/spec.md lacks {path}")
print(f"{len(all_keys)} keys, {tried} bounds")
