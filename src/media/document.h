// Pages of a PDF as pictures, drawn by Poppler's tools in a process of their own. Any thread may
// call.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/limits.h"
#include "core/message.h"

namespace fovea::media {

struct PageChoice {
  std::optional<std::string> pages;  // "1-3,5,8-"; all where there is none
  int dpi = kPdfDpi.standard;
};

bool is_pdf(std::string_view bytes);

// The chosen pages as PNG, each with its number. Sizes are held to a picture's limits before a page
// is drawn. Throws Error(kUnsupported) without the tools, kInvalidArgument for pages that are not
// there, kTooLarge for more of them than limits.h or larger ones, kInvalidData for a PDF that
// cannot be read, or not without a password.
std::vector<MediaBytes> draw_pages(const MediaBytes& pdf, const PageChoice& choice);

// The numbers that a choice names, in its order, out of `count` pages; `name` is the document's.
std::vector<int> chosen_pages(const PageChoice& choice, int count, const std::string& name);

}  // namespace fovea::media
