// What `fovea generate` prints around an answer: one JSON object, or lines as the reference prints
// them.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "cli/answer.h"
#include "core/prompt.h"
#include "core/usage.h"
#include "generate/memory_estimate.h"

namespace fovea::cli {

struct Report {
  std::vector<PictureUsage> pictures;
  std::vector<VideoUsage> videos;
  double load_ms = 0;
  size_t prefill_bytes = 0;  // of weights kept once more by --prefill int8
};

// Of what was given as pictures and as videos, each in the order of the prompt.
std::vector<PictureUsage> picture_usage(const Prompt& prompt);
std::vector<VideoUsage> video_usage(const Prompt& prompt);

// docs/json-output.md is the manual of both objects.
std::string json_report(const Answer& answer, const Report& report);
std::string json_estimate(const generate::MemoryEstimate& estimate);

void print_estimate(const generate::MemoryEstimate& estimate);

// `files` as the command line names them; a data: URI is not repeated.
void print_heading(std::FILE* out, const std::vector<std::string>& files, const Prompt& prompt);
// A line for each picture and video: what it was and what became of it.
void print_media(std::FILE* out, const Report& report);
void print_statistics(std::FILE* out, const Answer& answer);

}  // namespace fovea::cli
