// RUN: lorac-opt %s --lora-append-update="optimizer=adamw_8bit" | FileCheck %s
// RUN: lorac-opt %s --lora-append-update="optimizer=adamw_8bit device=cuda" --lora-plan-memory --lora-check-memory | FileCheck %s --check-prefix=PLAN
// RUN: lorac-opt %s --lora-append-update="optimizer=lion_8bit min-8bit-size=64" | FileCheck %s --check-prefix=ALL
// RUN: lorac-opt %s --lora-append-update="optimizer=lion_8bit min-8bit-size=8193" | FileCheck %s --check-prefix=NONE
// Parameters with enough elements have states of 8 bits: their spans come first in the table, and one launch is over them. The
// others have float32 in a compact region, and a launch of the same body.

module {
  lora.adapter @q of @q.weight rank 4 scale 1.0
  lora.param @q.lora_B.weight lora_B of @q : tensor<16x4xf32>
  lora.param @q.lora_A.weight lora_A of @q : tensor<4x2048xf32>
}
// CHECK: lora.region @exp_avg state dynamic8_signed 8256 at -1
// CHECK: lora.region @exp_avg_absmax state absmax 32 at -1
// CHECK: lora.region @exp_avg_compact state compact 64 at -1
// CHECK: lora.region @exp_avg_sq state dynamic8_unsigned 8256 at -1
// CHECK: lora.region @exp_avg_sq_absmax state absmax 32 at -1
// CHECK: lora.region @exp_avg_sq_compact state compact 64 at -1
// CHECK: lora.kernel @each_adamw_8bit family "each"
// CHECK-SAME: elements = "i32 f32 f32 f32 f32 i8 f32 i8 f32 f32"
// CHECK-SAME: regions = 4 : i64, storage = ["floats", "floats", "dynamic8_signed", "dynamic8_unsigned"]
// CHECK-SAME: writes = array<i64: 0, 2, 3>
// CHECK: lora.kernel @each_adamw_8bit_f32 family "each"
// CHECK-SAME: elements = "i32 f32 f32 f32 f32 f32 f32"
// CHECK-SAME: storage = ["floats", "floats", "compact", "compact"]
// CHECK-LABEL: func.func @update()
// CHECK: %[[SPANS:.*]] = lora.buffer io "update_spans" at -1 : memref<3x4xi32>
// CHECK: %[[SCALARS:.*]] = lora.buffer io "update" at -1 : memref<9xf32>
// CHECK: lora.scalar %[[SCALARS]][0] "one_minus_beta1"
// CHECK: %[[FIRST:.*]] = lora.slice %[[SPANS]] by 0 : memref<3x4xi32> to memref<2x4xi32>
// CHECK: %[[M:.*]] = lora.buffer region "exp_avg" at -1 : memref<8256xi8>
// CHECK: %[[ABSMAX:.*]] = lora.buffer region "exp_avg_absmax" at -1 : memref<32xf32>
// CHECK: %[[MAPS:.*]] = lora.buffer table "dynamic8" at -1 : memref<2x512xf32>
// CHECK: lora.launch @each_adamw_8bit(%[[FIRST]], %[[SCALARS]], {{.*}}, %[[M]], %[[ABSMAX]], {{.*}}, %[[MAPS]]) rows{{ ?}}[0, 2] fixed
// CHECK-NOT: lora.scalar
// CHECK: %[[REST:.*]] = lora.slice %[[SPANS]] by 32 : memref<3x4xi32> to memref<1x4xi32>
// CHECK: %[[COMPACT:.*]] = lora.buffer region "exp_avg_compact" at -1 : memref<64xf32>
// CHECK: lora.launch @each_adamw_8bit_f32(%[[REST]], %[[SCALARS]], {{.*}}, %[[COMPACT]], {{.*}}) rows{{ ?}}[0, 1] fixed

// PLAN: lora.region @exp_avg state dynamic8_signed 8256 at [[M:[0-9]+]]
// PLAN: lora.buffer region "exp_avg" at [[M]]

// ALL: lora.region @exp_avg state dynamic8_signed 8256
// ALL: lora.region @exp_avg_absmax state absmax 33 at -1
// ALL: lora.region @exp_avg_compact state compact 0 at -1
// ALL-NOT: _f32
// ALL-LABEL: func.func @update()
// ALL-NOT: lora.slice
// ALL: rows{{ ?}}[0, 3] fixed

// NONE: lora.region @exp_avg state dynamic8_signed 0
// NONE: lora.region @exp_avg_absmax state absmax 0
// NONE: lora.region @exp_avg_compact state compact 8256
// NONE-NOT: dynamic8
// NONE: lora.launch @each_lion_8bit_f32({{.*}}) rows{{ ?}}[0, 3] fixed
