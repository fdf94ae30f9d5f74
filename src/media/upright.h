// Turning a stored picture the way that it is looked at. Any thread may call.
#pragma once

#include "core/image.h"

namespace fovea::media {

// `orientation` is EXIF's, 1 to 8; another number leaves the picture as it is. 5 to 8 swap the
// sides.
Image upright(Image stored, int orientation);

// The size of what upright() gives.
Size upright_size(Size stored, int orientation);

}  // namespace fovea::media
