#pragma once
// The identity of a spec's model, which its program carries.

#include "dsl/Architecture.h"
#include "runtime/formats/ModelIdentity.h"

#include <string>

namespace lorac::tools {

/// What `source` says of every symbol that the architecture describes; null: what the spec's shape
/// says. A spec that overrides a symbol does not change which model this is.
formats::ModelIdentity identityOf(const dsl::Architecture &architecture,
                                  const dsl::BoundModel &model, const formats::ModelSource *source);

/// run.json with the identity in it.
std::string withIdentity(const std::string &runJson, const formats::ModelIdentity &identity);

} // namespace lorac::tools
