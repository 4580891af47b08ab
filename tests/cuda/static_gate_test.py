"""The static gate fails where it must: doctored kernels.json and doctored records, no compiler."""
import contextlib
import io
import json
import os
import tempfile
import unittest
from pathlib import Path

import static_gate

GOOD = {"kernel": "linear", "arch": "sm_89", "threads": 256, "registers": 222,
        "shared_bytes": 98304, "spill_bytes": 0, "resident_blocks": 1, "occupancy": 0.1667,
        "instructions_per_mma": 3.182,
        "log": "ptxas info    : 0 bytes gmem\nptxas info    : Used 222 registers, 1 barriers\n"}
PLAIN = dict(GOOD, kernel="adamw", shared_bytes=0, instructions_per_mma=None)
RECORDED = {"tiny": {"linear": {"sm_89": 3.182, "sm_90": 3.5}}}
# Stands for lorac: copies kernels.json to where -o says, or fails as told.
COMPILER = """#!/bin/sh
[ -z "$WORDS" ] || { echo "$WORDS" >&2; exit 1; }
for folder; do :; done
mkdir -p "$folder" && cp "$KERNELS" "$folder/kernels.json"
"""


class StaticGate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        root = Path(self.folder.name)
        self.lorac, self.record, self.kernels = root / "lorac", root / "recorded", root / "kernels"
        self.lorac.write_text(COMPILER)
        self.lorac.chmod(0o755)

    def gate(self, kernels, recorded=RECORDED, flags=(), words=""):
        self.kernels.write_text(json.dumps(kernels))
        self.record.write_text(json.dumps(recorded))
        os.environ.update(KERNELS=str(self.kernels), WORDS=words)
        self.addCleanup(os.environ.pop, "KERNELS", None)
        self.addCleanup(os.environ.pop, "WORDS", None)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            arguments = [str(self.lorac), str(self.record), "specs/tiny.toml", "--arch", "sm_89"]
            code = static_gate.main([*arguments, *flags])
        return code, err.getvalue()

    def fails(self, text, kernels, recorded=RECORDED):
        code, err = self.gate(kernels, recorded)
        self.assertEqual(code, 1)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn("tiny sm_89 linear: " + text, err)

    def test_good_kernels_pass(self):
        self.assertEqual(self.gate([GOOD, PLAIN]), (0, ""))

    def test_a_shorter_loop_passes(self):
        self.assertEqual(self.gate([dict(GOOD, instructions_per_mma=3.0)]), (0, ""))

    def test_spills(self):
        self.fails("8 bytes are spilt", [dict(GOOD, spill_bytes=8), PLAIN])

    def test_shared_memory(self):
        self.fails("101504 bytes of shared memory, a block may have 101376",
                   [dict(GOOD, shared_bytes=101504)])

    def test_registers(self):
        self.fails("256 registers", [dict(GOOD, registers=256)])
        self.fails("0 registers", [dict(GOOD, registers=0)])

    def test_no_block_fits(self):
        self.fails("not one block fits", [dict(GOOD, resident_blocks=0)])

    def test_serialized_warpgroup_products(self):
        loss = ("ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
                "insufficient register resources for the wgmma pipeline in function 'linear'")
        self.fails("ptxas says 'ptxas info    : (C7510)", [dict(GOOD, log=GOOD["log"] + loss + "\n")])
        self.fails("ptxas says", [dict(GOOD, log="ptxas info : (C7519) something else about wgmma\n")])
        self.fails("ptxas says", [dict(GOOD, log="warning: wgmma.mma_async instructions are serialized\n")])

    def test_other_words_of_ptxas_pass(self):
        words = GOOD["log"] + "ptxas info    : (C7000) no matter\nptxas warning : wgmma is in this kernel\n"
        self.assertEqual(self.gate([dict(GOOD, log=words)]), (0, ""))

    def test_a_longer_loop(self):
        self.fails("3.25 instructions an mma, 3.18 are recorded",
                   [dict(GOOD, instructions_per_mma=3.25)])
        self.fails("3.18 instructions an mma, 2.90 are recorded", [GOOD],
                   {"tiny": {"linear": {"sm_89": 2.9}}})

    def test_a_kernel_without_a_record(self):
        self.fails("3.18 instructions an mma, none are recorded", [GOOD], {})
        self.fails("3.18 instructions an mma, none are recorded", [GOOD],
                   {"tiny": {"linear": {"sm_90": 3.5}}})

    def test_a_record_without_a_kernel(self):
        other = dict(RECORDED["tiny"], gone={"sm_89": 4.0})
        code, err = self.gate([GOOD], {"tiny": other})
        self.assertEqual(code, 1)
        self.assertIn("tiny sm_89 gone: is recorded and was not found", err)

    def test_no_kernels(self):
        self.assertEqual(self.gate([])[0], 1)

    def test_a_compiler_that_fails(self):
        code, err = self.gate([GOOD], words="error: a bug")
        self.assertEqual(code, 1)
        self.assertIn("does not compile for sm_89", err)

    def test_absent_tools_are_skipped(self):
        self.assertEqual(self.gate([GOOD], words="error: NVRTC is not on this machine")[0], 77)
        self.assertEqual(self.gate([PLAIN], recorded={})[0], 77)
        code, err = self.gate([dict(PLAIN, spill_bytes=4)], recorded={})
        self.assertEqual(code, 1, err)

    def test_record_replaces_what_was_compiled(self):
        longer = [dict(GOOD, instructions_per_mma=4.0)]
        self.assertEqual(self.gate(longer, flags=["--record"])[0], 0)
        written = json.loads(self.record.read_text())
        self.assertEqual(written, {"tiny": {"linear": {"sm_89": 4.0, "sm_90": 3.5}}})

    def test_record_still_finds_spills(self):
        self.assertEqual(self.gate([dict(GOOD, spill_bytes=4)], flags=["--record"])[0], 1)


if __name__ == "__main__":
    unittest.main()
