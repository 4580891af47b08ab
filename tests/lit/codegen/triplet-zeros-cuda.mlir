// RUN: lorac-opt %s -lora-emit-cuda | FileCheck %s --match-full-lines
// triplet_zeros takes as many regions as its launch brings: here an optimizer with one state. E of a masked
// triplet is zeroed in the parameters alone, a dead one in every region.

// CHECK: {{.*}} zeros(
// CHECK-NEXT:     const int *__restrict__ table,
// CHECK-NEXT:     const int *__restrict__ states,
// CHECK-NEXT:     float *params,
// CHECK-NEXT:     float *region1,
// CHECK-NEXT:     const LoracStep *__restrict__ step,
// CHECK:     if ((thread == 0) && (state < 2)) {
// CHECK-NEXT:       params[e + i] = 0.0f;
// CHECK-NEXT:     }
// CHECK-NEXT:     if (state == 0) {
// CHECK:         params[e + i] = 0.0f;
// CHECK:         region1[e + i] = 0.0f;
// CHECK-NOT: {{.*}} = 0.0f;
// CHECK: module {
lora.kernel @zeros family "triplet_zeros" rows tile 1 count 0 scratch 0 {elements = "i32 i32 f32 f32", regions = 2 : i64}
