# Limits of the process are read, named and held: by ulimit here, for a test can set no cgroup.
# limits.sh BUILD SOURCE
source "$(dirname "$0")/common.sh"
cd "$source"

finding() { grep -E "^$1 " "$work/stdout" || fail "doctor does not speak of '$1'"; }
expect 0 "$lorac" doctor
[[ $(finding threads) == *" of "*" cores (affinity and cgroup respected)"* ]] || fail "no threads"
[[ $(finding memory) != *"ulimit"* || $(ulimit -v) != unlimited ]] || fail "a ulimit that is not set"

# 3 GiB of address space, and of private memory.
expect 0 bash -c 'ulimit -v 3145728; exec "$0" doctor' "$lorac"
[[ $(finding memory) == *"limited to 3.0 GiB by ulimit -v"* ]] || fail "no ulimit -v in doctor"
expect 0 bash -c 'ulimit -d 3145728; exec "$0" doctor' "$lorac"
[[ $(finding memory) == *"limited to 3.0 GiB by ulimit -d"* ]] || fail "no ulimit -d in doctor"

# A plan that needs more than that, on any machine: exit 4, with what it needs and what says no.
large="--set train.batch_size=20000 --set target.device=cpu"
for limit in -v -d; do
  expect 4 bash -c 'ulimit '$limit' 3145728; exec "$@"' lorac "$lorac" plan specs/tiny_lora.toml $large
  says "more than this machine gives a process: 3.0 GiB by ulimit $limit"
  expect 0 bash -c 'ulimit '$limit' 3145728; exec "$@"' lorac "$lorac" plan specs/tiny_lora.toml --set target.device=cpu
  prints "(ulimit $limit)"
done

# One core of the mask is one thread.
expect 0 taskset -c "$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/')" "$lorac" doctor
[[ $(finding threads) == *" 1 of "* ]] || fail "the affinity mask is not read"
