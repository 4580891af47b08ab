// RUN: not lorac-opt %s --lora-append-update="optimizer=adam" 2>&1 | FileCheck %s
// RUN: lorac-opt %s --lora-append-update | FileCheck %s --check-prefix=NONE
// RUN: not lorac-opt %s --lora-append-triplets --lora-plan-memory -o /dev/null 2>&1 | FileCheck %s --check-prefix=PLAN

// CHECK: no optimizer is named 'adam'
// Nothing is trained: no update.
// NONE-NOT: lora.program update @update
// NONE-NOT: lora.region
// PLAN: is of the region 'momentum', which none declares
module {
  lora.program micro_batch @train() {
    %m = lora.buffer region "momentum" at -1 : memref<4xf32>
    lora.return
  }
}
