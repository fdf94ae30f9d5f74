#include "convert/calibration.h"

#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "media/source.h"
#include "processors/processor.h"

namespace fovea::convert {
namespace {

namespace fs = std::filesystem;

std::string image_source(const fs::path& folder, const std::string& name) {
  const bool elsewhere = name.starts_with("data:") || name.starts_with("file:");
  return elsewhere ? name : (folder / name).string();
}

CalibrationSample sample_of(const Json& line, const fs::path& folder) {
  CalibrationSample sample;
  sample.text = line.as_object().get_string("text", "");
  sample.prompt = line.get_string("prompt", "");
  sample.answer = line.get_string("answer", "");
  const Json images = line["images"];
  for (size_t i = 0; !images.is_null() && i < images.as_list().size(); ++i) {
    sample.images.push_back(media::load_media(image_source(folder, images.at(i).as_string()),
                                              media::SourcePolicy::own_files()));
  }
  if (sample.text.empty() == sample.prompt.empty()) {
    fail(ErrorKind::kInvalidData, "[{}] expected either 'text' or 'prompt' but got {}",
         line.where(), sample.text.empty() ? "neither" : "both");
  }
  return sample;
}

std::vector<CalibrationSample> samples_of_lines(const std::string& text, const fs::path& file) {
  std::vector<CalibrationSample> samples;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{} line {}", file.filename().string(), number);
    samples.push_back(sample_of(Json::parse(line, where), file.parent_path()));
  }
  return samples;
}

std::vector<CalibrationSample> samples_of_paragraphs(const std::string& text) {
  std::vector<CalibrationSample> samples;
  std::istringstream lines(text);
  std::string line;
  std::string paragraph;
  const auto end = [&] {
    if (!paragraph.empty()) samples.push_back({.text = paragraph});
    paragraph.clear();
  };
  while (std::getline(lines, line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      end();
    } else {
      paragraph += paragraph.empty() ? line : "\n" + line;
    }
  }
  end();
  return samples;
}

ChatRequest request_of(const CalibrationSample& sample) {
  ChatRequest request;
  request.images = sample.images;
  request.messages.push_back({"user", {{Part::Kind::kText, sample.prompt}}, {}});
  request.add_generation_prompt = sample.answer.empty();
  if (!sample.answer.empty()) {
    request.messages.push_back({"assistant", {{Part::Kind::kText, sample.answer}}, {}});
  }
  return request;
}

}  // namespace

std::vector<CalibrationSample> read_calibration(const fs::path& file) {
  const std::string text = read_file(file);
  auto samples =
      file.extension() == ".jsonl" ? samples_of_lines(text, file) : samples_of_paragraphs(text);
  if (samples.empty()) {
    fail(ErrorKind::kInvalidData, "[{}] expected texts to calibrate with but it has none",
         file.filename().string());
  }
  return samples;
}

std::vector<Prompt> calibration_prompts(const Checkpoint& checkpoint,
                                        const std::vector<CalibrationSample>& samples,
                                        int context_length) {
  const processors::Processor processor(checkpoint);
  const auto longest = static_cast<size_t>(context_length);
  std::vector<Prompt> prompts;
  for (const auto& sample : samples) {
    Prompt prompt;
    if (sample.text.empty()) {
      prompt = processor.process(request_of(sample));
      if (prompt.tokens.size() > longest) continue;
    } else {
      prompt.tokens =
          processors::tokenize(*processor.tokenizer(), processor.chat_template(), sample.text);
      prompt.tokens.resize(std::min(prompt.tokens.size(), longest));
    }
    if (!prompt.tokens.empty()) prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) {
    fail(ErrorKind::kTooLarge, "[calibration] expected a prompt of at most {} tokens but got none",
         longest);
  }
  return prompts;
}

}  // namespace fovea::convert
