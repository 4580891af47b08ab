// RUN: lorac-opt %s --lora-check-memory --split-input-file --verify-diagnostics

// One after the other in one place; the launch in the middle reads one and writes the next.
module {
  lora.arena bytes 4096 persistent 512
  lora.region @params params floats 64 at 0
  lora.kernel @map family "map" rows tile 16 count 0 scratch 0 {cols = 16 : i64}
  lora.program micro_batch @train() {
    %io = lora.buffer io "hidden" at 256 : memref<4x16xf32>
    %a = lora.buffer local "a" at 512 : memref<4x16xf32>
    %b = lora.buffer local "b" at 768 : memref<4x16xf32>
    %c = lora.buffer local "c" at 512 : memref<4x16xf32>
    lora.launch @map(%io, %a) rows [0, 4] : memref<4x16xf32>, memref<4x16xf32>
    lora.launch @map(%a, %b) rows [0, 4] : memref<4x16xf32>, memref<4x16xf32>
    lora.launch @map(%b, %c) rows [0, 4] : memref<4x16xf32>, memref<4x16xf32>
    lora.return
  }
}

// -----

// The last use is of a part.
module {
  lora.arena bytes 4096 persistent 256
  lora.region @params params floats 64 at 0
  lora.kernel @map family "map" rows tile 16 count 0 scratch 0 {cols = 16 : i64}
  lora.program micro_batch @train() {
    %a = lora.buffer local "a" at 512 : memref<4x16xf32>
    %b = lora.buffer local "b" at 1024 : memref<4x16xf32>
    // expected-error@+1 {{at 704 to 960 lies over 'a' at 512 to 768, which is in use at the same time}}
    %c = lora.buffer local "c" at 704 : memref<4x16xf32>
    lora.launch @map(%b, %a) rows [0, 4] : memref<4x16xf32>, memref<4x16xf32>
    lora.launch @map(%b, %c) rows [0, 4] : memref<4x16xf32>, memref<4x16xf32>
    %part = lora.slice %a by 128 : memref<4x16xf32> to memref<2x16xf32>
    lora.launch @map(%c, %part) rows [0, 2] : memref<4x16xf32>, memref<2x16xf32>
    lora.return
  }
}

// -----

module {
  lora.arena bytes 4096 persistent 256
  lora.region @params params floats 64 at 0
  lora.kernel @map family "map" rows tile 16 count 0 scratch 0 {cols = 16 : i64}
  lora.program micro_batch @train() {
    %a = lora.buffer local "a" at 512 : memref<4x16xf32>
    // expected-error@+1 {{at 128 to 384 lies over 'params' at 0 to 256, which is in use at the same time}}
    %c = lora.buffer local "c" at 128 : memref<4x16xf32>
    lora.launch @map(%a, %c) rows [0, 4] : memref<4x16xf32>, memref<4x16xf32>
    lora.return
  }
}

// -----

module {
  lora.arena bytes 600 persistent 256
  lora.kernel @map family "map" rows tile 16 count 0 scratch 0 {cols = 16 : i64}
  lora.program micro_batch @train() {
    // expected-error@+1 {{ends at 768, outside of the arena of 600 bytes}}
    %a = lora.buffer local "a" at 512 : memref<4x16xf32>
    lora.launch @map(%a) rows [0, 4] : memref<4x16xf32>
    lora.return
  }
}

// -----

// expected-error@+1 {{'exp_avg' lies over 'grads' in the arena, both in use throughout}}
module {
  lora.arena bytes 600 persistent 256
  lora.region @grads grads floats 16 at 0
  lora.region @exp_avg state floats 16 at 60
}

// -----

// expected-error@+1 {{'io/labels' lies over 'ids' in the arena, both in use throughout}}
module {
  lora.arena bytes 600 persistent 256
  lora.program micro_batch @train() {
    %a = lora.buffer io "ids" at 0 : memref<16xi32>
    %b = lora.buffer io "labels" at 32 : memref<16xi32>
    lora.return
  }
}

// -----

// A step may have its locals where inference has what it hands on; inference itself may not.
module {
  lora.arena bytes 4096 persistent 256
  lora.kernel @map family "map" rows tile 16 count 0 scratch 0 {cols = 16 : i64}
  lora.program micro_batch @train() {
    %a = lora.buffer local "a" at 256 : memref<4x16xf32>
    lora.launch @map(%a) rows [0, 4] : memref<4x16xf32>
    lora.return
  }
  lora.program inference @hidden() {
    %hidden = lora.buffer io "hidden" at 256 : memref<4x16xf32>
    // expected-error@+1 {{at 384 to 640 lies over 'hidden' at 256 to 512, which is in use at the same time}}
    %h = lora.buffer local "h" at 384 : memref<4x16xf32>
    lora.launch @map(%h, %hidden) rows [0, 4] : memref<4x16xf32>, memref<4x16xf32>
    lora.return
  }
}

// -----

// expected-error@+1 {{needs the lora.arena of lora-plan-memory}}
module {
  lora.region @params params floats 64 at 0
}
