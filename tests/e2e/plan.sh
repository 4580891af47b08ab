# plan.sh BUILD SOURCE REPACK: a plan whose hash is right and of which one number is another. No number makes the run crash: it is
# refused, or changes nothing that the kernels reach. Seeded; the first argument of plan.py is how many are tried.
source "$(dirname "$0")/common.sh"
cd "$source"
for spec in tiny_lora tiny_qlora; do
  compiled $spec "$work/$spec" --set train.steps=2 --set train.save_steps=0
  python3 "$(dirname "$0")/plan.py" 150 7 "$work/$spec/train" "$3" "$work" || fail "$spec: a changed plan crashed"
done
