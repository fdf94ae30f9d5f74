#include "support/parity_cases.h"

#include <algorithm>

#include "media/source.h"
#include "support/fixtures.h"

namespace fovea::testing {

namespace fs = std::filesystem;

std::vector<Case> parity_cases() {
  std::vector<Case> cases;
  for (const auto& family : fs::directory_iterator(fixture_path("parity"))) {
    for (const auto& entry : fs::directory_iterator(family.path() / "cases")) {
      const Json manifest = Json::parse(read_file(entry.path() / "manifest.json"), "manifest.json");
      cases.push_back({family.path().filename().string() + "_" + entry.path().filename().string(),
                       entry.path(),
                       family.path() / "checkpoints" / manifest["checkpoint"].as_string()});
    }
  }
  std::sort(cases.begin(), cases.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return cases;
}

ChatRequest read_request(const fs::path& folder) {
  const Json json = Json::parse(read_file(folder / "request.json"), "request.json");
  ChatRequest request;
  const Json messages = json["messages"];
  int next_image = 0;
  int next_video = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    Message message{messages.at(i)["role"].as_string(), {}, {}};
    const Json content = messages.at(i)["content"];
    if (content.is_string()) message.parts = {{Part::Kind::kText, content.as_string(), -1}};
    for (size_t p = 0; content.is_array() && p < content.size(); ++p) {
      const std::string type = content.at(p)["type"].as_string();
      if (type == "text") {
        message.parts.push_back({Part::Kind::kText, content.at(p)["text"].as_string(), -1});
      } else if (type == "video") {
        message.parts.push_back({Part::Kind::kVideo, "", next_video++});
      } else {
        message.parts.push_back({Part::Kind::kImage, "", next_image++});
      }
    }
    request.messages.push_back(std::move(message));
  }
  for (size_t i = 0; i < json["images"].size(); ++i) {
    const auto path = folder / json["images"].at(i).as_string();
    request.images.push_back(media::load_media(path.string(), media::SourcePolicy::own_files()));
  }
  for (size_t i = 0; i < json["videos"].size(); ++i) {
    VideoSampling sampling;
    if (json.contains("fps")) sampling.fps = json["fps"].as_double();
    const auto path = folder / json["videos"].at(i).as_string();
    request.videos.push_back(
        media::load_video(path.string(), sampling, media::SourcePolicy::own_files()));
  }
  return request;
}

}  // namespace fovea::testing
