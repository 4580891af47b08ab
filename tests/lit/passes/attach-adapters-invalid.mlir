// RUN: lorac-opt %s --lora-attach-adapters --split-input-file --verify-diagnostics

module {
  // expected-error@+1 {{no linear of the model is named 'q'}}
  lora.adapter @q of @q.weight rank 2 scale 2.0
}

// -----

// A weight that no linear reads.
module {
  lora.frozen @q.weight : !lora.weight<4x8, f32>
  // expected-error@+1 {{no linear of the model is named 'q'}}
  lora.adapter @q of @q.weight rank 2 scale 2.0
}

// -----

module {
  // expected-error@+1 {{has a negative rank}}
  lora.adapter @q of @q.weight rank -1 scale 2.0
}

// -----

module {
  // expected-error@+1 {{has a negative rank}}
  lora.adapter @q of @q.weight rank 2 scale 2.0 falls [2, -1, 2]
}

// -----

module {
  // expected-error@+1 {{falls from the initial rank between two bounds, got 2 numbers}}
  lora.adapter @q of @q.weight rank 2 scale 2.0 falls [2, 1]
}

// -----

module {
  // expected-error@+1 {{no method is named 'dorra'}}
  lora.adapter @q of @q.weight rank 2 scale 2.0 method "dorra"
}
