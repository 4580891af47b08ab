// DARE with the masks that mergekit drew (tests/golden/merge/models.*). Methods that draw nothing
// are held through the binary: tests/e2e/combine-models.sh.
#include "runtime/combine/Models.h"
#include "tests/unit/formats/Support.h"

#include <algorithm>
#include <cmath>

namespace lorac::combine {
namespace {

using formats::take;

TEST(Models, Dare) {
  const auto file = take(formats::Safetensors::open(formats::golden + "/merge/models.safetensors"));
  const auto base =
      take(formats::Safetensors::open(formats::golden + "/tiny/untied/model.safetensors"));
  size_t compared = 0;
  for (const ModelMethod &method : modelMethods()) {
    if (method.pruning != Pruning::Random)
      continue;
    // As tests/golden/merge/models.json says it.
    const ModelSum sum = {
        .method = method, .weights = {0.5, 0.4, -0.3}, .densities = {0.6, 0.5, 0.7}};
    for (const std::string tensor :
         {"model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.o_proj.weight",
          "model.layers.0.input_layernorm.weight"}) {
      const auto draw = [&](size_t model, int64_t count, double density) {
        EXPECT_EQ(density, sum.densities[model]);
        std::vector<uint8_t> mask = byteValues(file, "mask" + std::to_string(model) + "." +
                                                         std::string(method.name) + "." + tensor);
        EXPECT_EQ(int64_t(mask.size()), count);
        return mask;
      };
      Tasks models;
      for (const char *model : {"ft0.", "ft1.", "ft2."})
        models.push_back(take(file.floats(model + tensor)));
      const std::vector<float> theirs = take(file.floats(std::string(method.name) + "." + tensor));
      const std::vector<float> ours =
          combineTensor(sum, take(base.floats(tensor)), std::move(models), draw);
      ASSERT_EQ(ours.size(), theirs.size());
      for (size_t i = 0; i < ours.size(); ++i)
        EXPECT_NEAR(ours[i], theirs[i], 1e-6) << method.name << " " << tensor << " " << i;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 6u);
}

} // namespace
} // namespace lorac::combine
