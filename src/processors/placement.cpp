#include "processors/placement.h"

#include <algorithm>

#include "base/error.h"
#include "processors/message_media.h"

namespace fovea::processors {
namespace {

// The next tokens of a medium.
void add_run(MediaSpan& span, TokenRun run) {
  if (span.runs.empty()) span.begin = run.begin;
  if (!span.runs.empty() && span.runs.back().begin + span.runs.back().count == run.begin) {
    span.runs.back().count += run.count;
  } else {
    span.runs.push_back(run);
  }
}

}  // namespace

void require_placeholders(const std::string& what, int64_t found, size_t media, Part::Kind kind) {
  const auto wanted = static_cast<int64_t>(media);
  const char* const noun = noun_of(kind);
  if (found > wanted) {
    fail(ErrorKind::kInvalidArgument,
         "[prompt] expected text without the {} token '{}' but got it {} times for {} {}s", noun,
         what, found, media, noun);
  }
  if (found < wanted) {
    fail(ErrorKind::kInvalidArgument,
         "[prompt] expected a placeholder for each of {} {}s but the rendered prompt has {}", media,
         noun, found);
  }
}

Placement::Placement(int32_t token, const std::string& name, Part::Kind kind,
                     std::vector<ProcessedMedium> media, const std::vector<int32_t>& ids)
    : token_(token), media_(std::move(media)) {
  // Markup repeats the token already, which is checked as if it did not.
  int64_t found = std::count(ids.begin(), ids.end(), token_);
  for (const auto& m : media_) found -= m.markup.empty() ? 0 : m.span.count - 1;
  require_placeholders(name, found, media_.size(), kind);
}

int Placement::put(int begin) {
  ProcessedMedium& medium = media_[next_];
  const int count = medium.markup.empty() ? medium.span.count : 1;
  add_run(medium.span, {begin, count});
  placed_ += count;
  if (placed_ == medium.span.count) ++next_, placed_ = 0;
  return count;
}

void Placement::finish(std::vector<MediaSpan>& spans) {
  for (auto& medium : media_) {
    if (medium.span.runs.size() == 1) medium.span.runs.clear();
    spans.push_back(std::move(medium.span));
  }
}

}  // namespace fovea::processors
