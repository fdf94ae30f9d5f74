#include "media/clipboard.h"

#include <array>
#include <cstdlib>

#include "base/error.h"
#include "base/program.h"

namespace fovea::media {
namespace {

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value;
}

struct Clipboard {
  std::string program;
  std::vector<std::string> list;   // words that list the forms,
  std::vector<std::string> paste;  // and give one, before its name
};

Clipboard clipboard_of_display() {
  const bool wayland = is_set("WAYLAND_DISPLAY");
  if (!wayland && !is_set("DISPLAY")) {
    fail(
        ErrorKind::kUnsupported,
        "[media] expected a display for @clipboard but neither DISPLAY nor WAYLAND_DISPLAY is set");
  }
  const char* name = wayland ? "wl-paste" : "xclip";
  const std::string path = find_program(name);
  if (path.empty()) {
    fail(ErrorKind::kUnsupported,
         "[media] expected '{}' ({}) to read @clipboard but it is not there", name,
         wayland ? "wl-clipboard" : "xclip");
  }
  if (wayland) return {path, {path, "--list-types"}, {path, "--no-newline", "--type"}};
  return {path,
          {path, "-selection", "clipboard", "-o", "-t", "TARGETS"},
          {path, "-selection", "clipboard", "-o", "-t"}};
}

}  // namespace

std::string read_clipboard(size_t bytes_max) {
  constexpr std::array kForms = {"image/png",  "image/jpeg", "image/webp",
                                 "image/tiff", "image/bmp",  "image/gif"};
  const Clipboard clipboard = clipboard_of_display();
  ProgramLimits limits;
  limits.seconds = 10;
  limits.output_bytes = bytes_max;
  limits.variables = {"DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"};
  const std::string forms = "\n" + run_program(clipboard.list, "", limits, "media").output;
  for (const char* form : kForms) {
    if (forms.find(std::string("\n") + form + "\n") == std::string::npos) continue;
    auto words = clipboard.paste;
    words.push_back(form);
    auto pasted = run_program(words, "", limits, "media");
    if (pasted.code == 0 && !pasted.output.empty()) return std::move(pasted.output);
  }
  fail(ErrorKind::kNotFound, "[media] expected a picture in the clipboard but there is none");
}

}  // namespace fovea::media
