/* The one header that compiler and runtime share: plain C, versioned.
 *
 * A compiled program is a `module.so` (kernels, no undefined symbols) and a `plan.json` (buffers
 * with offsets, launches in order; docs/plan.md). Every kernel has the type
 * LoracKernel and is found in the module by its name. The module also exports `const uint32_t
 * lorac_abi_version`. */
#ifndef LORAC_RUNTIME_ABI_H
#define LORAC_RUNTIME_ABI_H

#include <stddef.h>
#include <stdint.h>

#define LORAC_ABI_VERSION 6u

/* Labels with this value have no loss. */
#define LORAC_NO_LABEL (-100)

/* What changes from one micro-batch to the next while the launches stay the same. The fields stand
 * here alone, as FIELD(type, name): the compiler takes the offsets for the CPU and the struct of
 * CUDA's kernels from this list. loss_scale is the gradient of the step's loss by one token's. */
#define LORAC_STEP_FIELDS(FIELD)                                                                   \
  FIELD(int64_t, tokens)   /* rows in this micro-batch, at most the plan's max_tokens */           \
  FIELD(int64_t, segments) /* samples in it; segment_starts has one entry more */                  \
  FIELD(float, loss_scale) /* 1 / labels in the accumulation window */                             \
  FIELD(uint32_t, seed)    /* of the run */                                                        \
  FIELD(uint32_t, step)    /* optimizer step, from 0 */                                            \
  FIELD(uint32_t, micro)   /* micro-batch in the accumulation window, from 0 */

typedef struct LoracStep {
#define LORAC_FIELD(type, name) type name;
  LORAC_STEP_FIELDS(LORAC_FIELD)
#undef LORAC_FIELD
} LoracStep;

#ifdef __cplusplus
#define LORAC_AT(type, name, offset)                                                               \
  static_assert(offsetof(type, name) == (offset), "part of the ABI: raise LORAC_ABI_VERSION");
#else
#define LORAC_AT(type, name, offset)                                                               \
  _Static_assert(offsetof(type, name) == (offset), "part of the ABI: raise LORAC_ABI_VERSION");
#endif
LORAC_AT(LoracStep, tokens, 0)
LORAC_AT(LoracStep, segments, 8)
LORAC_AT(LoracStep, loss_scale, 16)
LORAC_AT(LoracStep, seed, 20)
LORAC_AT(LoracStep, step, 24)
LORAC_AT(LoracStep, micro, 28)

/* The gradient's norm (plan: `io.norm`); the host writes the first two. */
typedef struct LoracNorm {
  float max_norm;       /* of the gradient; 0: no clipping */
  float gradient_scale; /* of the gradients by what lies in the arena: a power of two where the
                           step's loss_scale was raised to keep 16-bit gradients from vanishing */
  float norm;           /* written by the program `norm` */
  float clip; /* written by it, read by what updates: gradient_scale * min(1, max_norm / (norm +
                 1e-6)), or gradient_scale without clipping */
} LoracNorm;
LORAC_AT(LoracNorm, gradient_scale, 4)
LORAC_AT(LoracNorm, norm, 8)
LORAC_AT(LoracNorm, clip, 12)

/* AdaLoRA: where one module's triplets lie, in floats from the start of the regions
 * that have the layout of the params. */
typedef struct LoracTriplets {
  int32_t a, b, e;       /* A [rank, in], B [out, rank], E [rank] */
  int32_t rank, in, out; /* rank 0: the module has no triplets, a, b and e say nothing */
  int32_t unfolded;      /* of B in the region `unfolded` */
  int32_t first;         /* its first triplet among those of all modules */
} LoracTriplets;
LORAC_AT(LoracTriplets, rank, 12)
LORAC_AT(LoracTriplets, first, 28)

/* Optimizers with states of rows and columns: where one parameter lies, as a matrix. A parameter of
 * one dimension is a column. */
typedef struct LoracMatrix {
  int32_t offset;        /* of its elements, in the regions that have the layout of the params */
  int32_t rows, columns; /* how many it has */
  int32_t row, column;   /* its first ones among those of all parameters */
} LoracMatrix;
LORAC_AT(LoracMatrix, rows, 4)
LORAC_AT(LoracMatrix, column, 16)

/* What the program `zero_triplets` is told of each triplet. */
#define LORAC_TRIPLET_DEAD 0   /* all of it becomes zero */
#define LORAC_TRIPLET_MASKED 1 /* E becomes zero */
#define LORAC_TRIPLET_ALIVE 2

/* One launch runs tiles [begin, end) of its tile space (plan: `tiles`); ranges that cut the space
 * may run on different threads and write the same bytes as one range would. `rows` is the launch's
 * number of rows (plan: `rows`). `buffers` are in the order that the kernel family states;
 * `scalars` are the launch's (plan: `scalars`): ranks and what follows from them, so that a kernel
 * serves every rank; `scratch` is the worker's own, 64-byte aligned. */
typedef void (*LoracKernel)(void *const *buffers, const LoracStep *step, int64_t rows,
                            int64_t begin, int64_t end, void *scratch, const int64_t *scalars);

#endif
