// RUN: lorac-opt %s --split-input-file --verify-diagnostics --lora-plan-memory
// A buffer of a region has the place of that region: there must be one.

lora.region @exp_avg state floats 10 at -1
lora.kernel @copy family "map" rows tile 16 count 0 scratch 0 {}
lora.program update @update() {
  %known = lora.buffer region "exp_avg" at -1 : memref<10xf32>
  // expected-error@+1 {{is of the region 'exp_avg_sq', which none declares}}
  %unknown = lora.buffer region "exp_avg_sq" at -1 : memref<10xf32>
  lora.launch @copy(%known, %unknown) rows [0, 1] : memref<10xf32>, memref<10xf32>
  lora.return
}
