#include "processors/frame_pictures.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace fovea::processors {
namespace {

// For the videos that do not say how many frames they want.
int pictures_at_most(const std::vector<VideoInput>& videos) {
  std::optional<int> most;
  for (const auto& video : videos) {
    const auto& wanted = video.sampling.max_frames;
    if (wanted && !video.sampling.frames) most = std::min(*wanted, most.value_or(*wanted));
  }
  return most.value_or(kVideoPicturesStandard);
}

}  // namespace

std::vector<ChosenFrames> choose_pictures(const std::vector<VideoInput>& videos,
                                          const FrameStory* story) {
  std::vector<ChosenFrames> chosen;
  std::vector<std::pair<size_t, size_t>> all;  // video, and place in its choice
  for (const auto& input : videos) {
    auto video = media::Video::open(input);
    if (story) {
      auto choice = story->choose(video->info(), input.sampling, input.name);
      chosen.push_back({std::move(video), std::move(choice)});
      continue;
    }
    const bool counted = input.sampling.frames.has_value();
    auto choice = choose_frames(video->info(), input.sampling, standard_sampling(), counted ? 1 : 2,
                                input.name);
    for (size_t place = 0; !counted && place < choice.frames.size(); ++place) {
      all.emplace_back(chosen.size(), place);
    }
    chosen.push_back({std::move(video), std::move(choice)});
  }
  if (story) return chosen;
  const auto total = static_cast<int>(all.size());
  std::vector<FrameChoice> kept(chosen.size());
  for (const int i : evenly_spaced(total, std::min(total, pictures_at_most(videos)))) {
    const auto [video, place] = all[static_cast<size_t>(i)];
    kept[video].frames.push_back(chosen[video].choice.frames[place]);
    kept[video].times.push_back(chosen[video].choice.times[place]);
  }
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (!videos[i].sampling.frames) chosen[i].choice = std::move(kept[i]);
  }
  return chosen;
}

void put_in_place_of_videos(ChatRequest& request, const std::vector<std::vector<Part>>& parts) {
  std::vector<bool> placed(parts.size(), false);
  Message* last_user = nullptr;
  for (auto& message : request.messages) {
    if (message.role == "user") last_user = &message;
    std::vector<Part> with_pictures;
    for (const auto& part : message.parts) {
      if (part.kind != Part::Kind::kVideo) {
        with_pictures.push_back(part);
        continue;
      }
      const auto index = static_cast<size_t>(part.index);
      if (index >= parts.size() || placed[index]) {
        fail(ErrorKind::kInvalidArgument,
             "[messages] expected every video once among {} but got number {}", parts.size(),
             part.index);
      }
      placed[index] = true;
      with_pictures.insert(with_pictures.end(), parts[index].begin(), parts[index].end());
    }
    message.parts = std::move(with_pictures);
  }
  std::vector<Part> further;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!placed[i]) further.insert(further.end(), parts[i].begin(), parts[i].end());
  }
  if (!further.empty() && !last_user) {
    fail(ErrorKind::kInvalidArgument, "[messages] expected a user message for the videos");
  }
  if (last_user) last_user->parts.insert(last_user->parts.begin(), further.begin(), further.end());
  request.videos.clear();
}

}  // namespace fovea::processors
