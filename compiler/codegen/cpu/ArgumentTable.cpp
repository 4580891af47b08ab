#include "compiler/codegen/cpu/ArgumentTable.h"
#include "compiler/codegen/cpu/Families.h"
#include "runtime/formats/Dynamic8.h"

using namespace lorac::cpu;

namespace {

struct Entry {
  llvm::StringRef family;
  const char *buffers; ///< "W", or outer:stride:columns; those behind ?PARAM only where it is not 0
};

const Entry table[] = {
    {"linear_forward",
     "rows:ldx:k W ?rank rows:ldt:rank ?rank n:rank:rank ?residual rows:ldr:n^ rows:ldy:n^"},
    {"linear_backward", "rows:lddy:n W ?rank rows:lddt:rank ?rank rank:k:k rows:lddx:k"},
    {"matmul_nt", "rows:lda:k j:ldb:k rows:ldc:j"},
    {"matmul_nn", "rows:lda:k k:ldb:j rows:ldc:j"},
    {"matmul_tn", "rows:lda:i rows:ldb:j i:ldc:j"},
    {"attention_forward", "rows:ldq:heads*head_dim rows:ldk:kv_heads*head_dim "
                          "rows:ldv:kv_heads*head_dim starts:1:1 rows:ldo:heads*head_dim "
                          "rows:ldl:heads"},
    {"attention_backward",
     "rows:ldq:heads*head_dim rows:ldk:kv_heads*head_dim rows:ldv:kv_heads*head_dim starts:1:1 "
     "rows:ldo:heads*head_dim rows:ldl:heads rows:lddo:heads*head_dim rows:lddq:heads*head_dim "
     "rows:lddk:kv_heads*head_dim rows:lddv:kv_heads*head_dim"},
    {"cache_rows", "rows:ldk:kv_heads*head_dim rows:ldv:kv_heads*head_dim starts:1:1 rows:1:1 "
                   "cached:kv_heads*head_dim:kv_heads*head_dim cached:ldc:ldc"},
    {"cached_attention", "rows:ldq:heads*head_dim cached:kv_heads*head_dim:kv_heads*head_dim "
                         "cached:ldc:ldc starts:1:1 rows:1:1 rows:ldo:heads*head_dim"},
    {"rms_norm_forward", "rows:ldx:heads*n W rows:ldy:heads*n"},
    {"rms_norm_backward", "rows:ldx:heads*n W rows:lddy:heads*n rows:lddx:heads*n"},
    {"rope", "rows:ldx:heads*head_dim rows:1:1 all:head_dim:head_dim rows:ldy:heads*head_dim"},
    {"cross_entropy", "rows:ld:vocab rows:1:1 rows:1:1"},
    {"embed", "rows:1:1 W rows:ldy:k"},
    {"orthogonal_term", "n:n:n 1:1:1"},
    {"dropout", "rows:ldx:cols rows:ldy:cols"},
    {"fold_triplets", "rows:8:8 all:1:1 all:1:1"},
    {"unfold_triplets", "rows:8:8 all:1:1 all:1:1"},
    {"unfold_gradients", "rows:8:8 all:1:1 all:1:1"},
    {"triplet_scores", "rows:8:8 all:1:1 all:1:1 all:1:1"},
    {"sum_rows", "rows:ldx:cols 1:1:cols"},
    {"weight_norm", "W rank:k:k n:rank:rank 1:1:n"},
};

bool isThere(lorac::lora::KernelOp kernel, llvm::StringRef param) {
  return param == "rank" ? mostRank(kernel.getParams()) > 0 : kernel.intParam(param) != 0;
}

} // namespace

std::vector<ArgumentText> lorac::cpu::argumentsOf(lora::KernelOp kernel) {
  std::vector<ArgumentText> out;
  if (kernel.getFamily() == "map") {
    for (int64_t ld : kernel.integers("lds"))
      out.push_back(ld == 0 ? ArgumentText{false, "1", "1", "cols"}
                            : ArgumentText{false, "rows", std::to_string(ld), "cols"});
    if (kernel.hasParam("weights"))
      for (int64_t place : kernel.integers("weights"))
        out[place].isWeight = true;
    return out;
  }
  const ArgumentText spans{false, "rows", "4", "4"}, sums{false, "rows", "1", "1", /*element=*/8},
      all{false, "all", "1", "1"};
  auto addOnes = [&] {
    for (int64_t place : kernel.integers("ones"))
      out.push_back({false, std::to_string(place + 1), "1", "1"});
  };
  if (kernel.getFamily() == "each") {
    out = {spans};
    if (kernel.intParam("uniform") + kernel.intParam("by_group") > 0)
      out.push_back(all);
    addOnes();
    const llvm::SmallVector<lora::Storage> storage = lora::KernelOp::storageOf(kernel.getParams());
    for (lora::Storage stored : storage) {
      if (lora::isCode(stored))
        out.push_back({false, "all", "1", "1", /*element=*/1});
      out.push_back(all); // of codes their absmax
    }
    if (llvm::any_of(storage, lora::isCode))
      out.push_back({false, std::to_string(2 * formats::dynamicTableFloats), "1", "1"});
    return out;
  }
  if (kernel.getFamily() == "triplet_zeros") {
    const llvm::SmallVector<lora::Storage> storage = lora::KernelOp::storageOf(kernel.getParams());
    out = {{false, "rows", "8", "8"}, all};
    if (llvm::any_of(storage, [](lora::Storage of) { return of != lora::Storage::Floats; }))
      out.push_back({false, "rows", "3", "3"});
    for (lora::Storage stored : storage)
      out.push_back({false, "all", "1", "1", /*element=*/lora::isCode(stored) ? 1 : 4});
    return out;
  }
  if (kernel.getFamily() == "sum_spans") {
    out = {spans};
    out.resize(1 + kernel.intParam("regions"), all);
    out.push_back(sums);
    return out;
  }
  if (kernel.getFamily() == "sum_whole") {
    out = {sums};
    addOnes();
    out.push_back(all);
    return out;
  }
  const Entry *entry =
      llvm::find_if(table, [&](const Entry &of) { return of.family == kernel.getFamily(); });
  assert(entry != std::end(table) && "each family has a line here");
  llvm::SmallVector<llvm::StringRef> words;
  llvm::StringRef(entry->buffers).split(words, ' ');
  for (size_t i = 0; i < words.size(); ++i) {
    llvm::StringRef word = words[i];
    if (word.consume_front("?")) {
      i += isThere(kernel, word) ? 0 : 1; // past the buffer behind it
      continue;
    }
    auto [outer, rest] = word.split(':');
    auto [stride, columns] = rest.split(':');
    out.push_back({word == "W", outer.str(), stride.str(), columns.str()});
  }
  return out;
}
