// RUN: lorac-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{has -1 floats}}
lora.region @exp_avg state floats -1 at 0

// -----

lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xf32>
  // expected-error@+1 {{has a formula that leaves 2 numbers}}
  lora.scalar %u[4] "decay" [1.0, "rate"] : memref<8xf32>
  lora.return
}

// -----

lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xf32>
  // expected-error@+1 {{has a formula that leaves 0 numbers}}
  lora.scalar %u[4] "decay" [] : memref<8xf32>
  lora.return
}

// -----

lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xf32>
  // expected-error@+1 {{too few numbers before "-"}}
  lora.scalar %u[4] "decay" [1.0, "-"] : memref<8xf32>
  lora.return
}

// -----

lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xf32>
  // expected-error@+1 {{neither a number, rate, update, weight_decay nor an operator}}
  lora.scalar %u[4] "decay" ["lr"] : memref<8xf32>
  lora.return
}

// -----

lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xf32>
  // expected-error@+1 {{has no place among the f32 of 'memref<8xf32>'}}
  lora.scalar %u[8] "decay" [1.0] : memref<8xf32>
  lora.return
}

// -----

lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xi32>
  // expected-error@+1 {{has no place among the f32 of 'memref<8xi32>'}}
  lora.scalar %u[4] "decay" [1.0] by_group 2 : memref<8xi32>
  lora.return
}

// -----

// scalar_c3
lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xf32>
  // expected-error@+1 {{"weight_decay", which is of a group, and no by_group}}
  lora.scalar %u[4] "decay" ["weight_decay"] : memref<8xf32>
  lora.return
}
