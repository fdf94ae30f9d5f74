// Diagnostics on standard error, never on standard output. Any thread may call. The level comes
// from FOVEA_LOG (trace, debug, info, warning, error, off; default warning).
#pragma once

#include <string_view>

namespace fovea {

void log_debug(std::string_view message);
void log_info(std::string_view message);
void log_warning(std::string_view message);

}  // namespace fovea
