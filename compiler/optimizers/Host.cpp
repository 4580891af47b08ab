#include "compiler/optimizers/Host.h"

using namespace mlir;
using namespace lorac::optimizers;

bool Host::isOfGroup() const {
  return llvm::any_of(terms, [](const Term &term) {
    const char *const *word = std::get_if<const char *>(&term);
    return word && StringRef(*word) == "weight_decay";
  });
}

ArrayAttr Host::attribute(Builder &b) const {
  SmallVector<Attribute> out;
  for (const Term &term : terms)
    if (const double *number = std::get_if<double>(&term))
      out.push_back(b.getF64FloatAttr(*number));
    else
      out.push_back(b.getStringAttr(std::get<const char *>(term)));
  return b.getArrayAttr(out);
}
