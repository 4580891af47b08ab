// Everything that mlir-tblgen turns into one set of C++ classes and one page of docs.
include "LoraOps.td"
include "LoraProgramOps.td"
include "LoraPlanOps.td"
