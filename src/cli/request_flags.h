// The flags that describe a request, shared by commands that make one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/message.h"
#include "core/sampling_params.h"

namespace CLI {
class App;
}

namespace fovea::cli {

struct RequestFlags {
  std::optional<std::string> prompt;
  std::optional<std::string> system;
  std::vector<std::string> images;
  std::optional<std::string> pages;  // of PDFs among the pictures
  int dpi = 0;
  std::vector<std::string> videos;
  VideoSampling video_sampling;  // of all videos
  double fetch_seconds = 0;      // of a medium from the web
  int fetch_megabytes = 0;
  std::vector<std::string> private_hosts;
  std::string colours = "shown";  // of pictures
  std::vector<int> resize_shape;
  std::vector<std::string> logit_bias;
  SamplingParams sampling;
};

void add_request_flags(CLI::App& command, RequestFlags& flags);

// Reads or fetches the pictures, opens the videos and checks what the parser cannot. Throws
// fovea::Error.
ChatRequest chat_request(const RequestFlags& flags);
SamplingParams sampling_params(const RequestFlags& flags);

}  // namespace fovea::cli
