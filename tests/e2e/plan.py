# plan.py COUNT SEED TRAIN REPACK FOLDER: changes one number of TRAIN's plan, COUNT times, and runs two steps each time.
import collections, copy, json, pathlib, random, shutil, subprocess, sys

count, seed, train, repack, work = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], pathlib.Path(sys.argv[5])
plan = json.loads((pathlib.Path(train).parent / "plan.json").read_text())


def numbers(value, path=()):
    if isinstance(value, dict):
        for key, member in value.items():
            yield from numbers(member, path + (key,))
    elif isinstance(value, list):
        for at, member in enumerate(value):
            yield from numbers(member, path + (at,))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path


def changed(path, to):
    other = copy.deepcopy(plan)
    at = other
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to(at[path[-1]])
    return other


ways = [lambda n: n + 1, lambda n: max(n - 1, 0), lambda n: n * 2, lambda n: n // 2, lambda n: n + 64, lambda n: n + 4096,
        lambda n: 0, lambda n: n + (1 << 20), lambda n: (1 << 31) - 1, lambda n: (1 << 40)]
dice = random.Random(seed)
# Places of each kind alike: there are many more launches than limits.
kinds = collections.defaultdict(list)
for path in numbers(plan):
    kinds[tuple("*" if isinstance(key, int) else key for key in path[-3:])].append(path)
tried, codes, crashed = 0, collections.Counter(), []
while tried < count:
    kind = dice.choice(sorted(kinds, key=str))
    path, way = dice.choice(kinds[kind]), dice.choice(ways)
    other = changed(path, way)
    if other == plan:
        continue
    tried += 1
    (work / "plan.json").write_text(json.dumps(other))
    subprocess.run([repack, train, str(work / "plan.json"), str(work / "changed")], check=True)
    out = work / "changed.out"
    shutil.rmtree(out, ignore_errors=True)
    # A plan that asks for terabytes gets none.
    ended = subprocess.run(["bash", "-c", 'ulimit -v 8388608; exec "$@"', "run", str(work / "changed"), "--threads", "1", "--quiet",
                            "--out", str(out)], capture_output=True, text=True, timeout=60)
    codes[ended.returncode] += 1
    if ended.returncode < 0 or ended.returncode == 70 or ended.returncode > 128:
        crashed.append((path, ended.returncode, ended.stderr[-200:]))
print(f"seed {seed}: {tried} plans with one other number: {dict(codes)} by exit code")
for path, code, said in crashed:
    print("crashed:", ".".join(map(str, path)), code, said)
sys.exit(bool(crashed))
