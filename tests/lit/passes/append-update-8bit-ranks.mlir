// RUN: lorac-opt %s --lora-append-update="optimizer=lion_8bit" --lora-append-triplets | FileCheck %s
// A factor whose rank fell keeps its 8 bits: what counts is its size at the start. What zeroes triplets knows where
// the states of each factor lie.

module {
  lora.adapter @q of @q.weight rank 1 scale 1.0 falls [4, 0, 4]
  lora.param @q.lora_A.weight lora_A of @q : tensor<1x2048xf32>
  lora.param @q.lora_B.weight lora_B of @q : tensor<16x1xf32>
  lora.param @q.lora_E.weight lora_E of @q : tensor<1x1xf32>
}
// CHECK: lora.region @exp_avg state dynamic8_signed 2065
// CHECK: lora.region @exp_avg_absmax state absmax 8 at
// CHECK: lora.region @exp_avg_compact state compact 17 at
// CHECK: lora.kernel @triplet_zeros family "triplet_zeros"
// CHECK-SAME: elements = "i32 i32 i32 f32 i8 f32 f32 f32"
// CHECK-SAME: storage = ["floats", "dynamic8_signed", "compact", "floats", "floats"]
// CHECK-LABEL: func.func @update()
// CHECK: lora.launch @each_lion_8bit({{.*}}) rows{{ ?}}[0, 1] fixed
// CHECK: lora.launch @each_lion_8bit_f32({{.*}}) rows{{ ?}}[0, 2] fixed
// CHECK-LABEL: func.func @zero_triplets()
// CHECK: lora.buffer io "triplet_owns" at -1 : memref<1x3xi32>
