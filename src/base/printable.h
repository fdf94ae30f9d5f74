// Text from files for a terminal. Any thread may call.
#pragma once

#include <string>
#include <string_view>

namespace fovea {

// `text` with its control characters (C0, DEL, and C1 as UTF-8 has them) written as \xNN, so that
// a name in a file cannot move the cursor or colour the screen.
std::string printable(std::string_view text);

}  // namespace fovea
