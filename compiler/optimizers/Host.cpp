#include "compiler/optimizers/Host.h"

using namespace mlir;
using namespace lorac::optimizers;

ArrayAttr Host::attribute(Builder &b) const {
  SmallVector<Attribute> out;
  for (const Term &term : terms)
    if (const double *number = std::get_if<double>(&term))
      out.push_back(b.getF64FloatAttr(*number));
    else
      out.push_back(b.getStringAttr(std::get<const char *>(term)));
  return b.getArrayAttr(out);
}
