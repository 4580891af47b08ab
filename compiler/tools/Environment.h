#pragma once
// Variables of the environment that begin with LORAC_.

#include "runtime/Result.h"

namespace lorac::tools {

/// A variable that lorac does not know would be passed over in silence: one that is nearly one of
/// ours is refused, any other is warned of.
Exit checkEnvironment();

} // namespace lorac::tools
