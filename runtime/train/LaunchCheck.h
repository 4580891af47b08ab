#pragma once
// What the kernels of a plan take, and each launch held against it: a launch that brings other
// buffers or scalars would read or write where nobody looks.

#include "runtime/train/JsonFields.h"
#include "runtime/train/Plan.h"

namespace lorac::train {

/// The members `args` and `scalars` of a kernel.
void readTaken(const Fields &in, PlanKernel &kernel);

/// An error at `in` unless the launch's buffers are as many, of the kinds, inside the arena as far
/// as the kernel goes, and its scalars as many and within their bounds.
void checkLaunch(const Fields &in, const Plan &plan, const PlanLaunch &launch);

/// An error at `programs` unless each launch of a family that goes by a table gets the runtime's
/// (io.update_spans, io.triplets and what lies beside them), and goes over what is in it: another
/// place's numbers would be taken for offsets.
void checkTables(const Fields &programs, const Plan &plan);

} // namespace lorac::train
