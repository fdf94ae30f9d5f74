// Texts and pictures that a model is shown before its weights are quantised, so that what it then
// computes decides which channels matter. One thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/checkpoint.h"
#include "core/message.h"
#include "core/prompt.h"

namespace fovea::convert {

// A text as it is, or an exchange that the checkpoint's chat template puts into words.
struct CalibrationSample {
  std::string text;
  std::string prompt;
  std::string answer;
  std::vector<MediaBytes> images;
};

// What there is without a file: some pages of our own, and drawn pictures with what they show.
std::vector<CalibrationSample> standard_calibration(bool with_pictures);

// A file ending in .jsonl has an object a line, {"text": "..."} or {"prompt": "...", "answer":
// "...", "images": ["a.png"]}, the last two as it likes; pictures are named from the file's folder
// on. Any other file is text, in paragraphs between empty lines. Throws fovea::Error that names the
// line, or for a file without any.
std::vector<CalibrationSample> read_calibration(const std::filesystem::path& file);

// As the model takes them: texts cut to its context, exchanges beyond it left out. Throws what
// Processor::process() throws, and kTooLarge where nothing is left.
std::vector<Prompt> calibration_prompts(const Checkpoint& checkpoint,
                                        const std::vector<CalibrationSample>& samples,
                                        int context_length);

}  // namespace fovea::convert
