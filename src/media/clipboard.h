// The picture in the clipboard of the user's display. Any thread may call.
#pragma once

#include <string>

namespace fovea::media {

// Its bytes, as PNG where there are several forms. Asks xclip (X11) or wl-paste (Wayland). Throws
// Error(kUnsupported) without a display or the program, kNotFound where the clipboard holds no
// picture, kTooLarge beyond `bytes_max`.
std::string read_clipboard(size_t bytes_max);

}  // namespace fovea::media
