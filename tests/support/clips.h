// Clips that tests make with the ffmpeg tool.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/file.h"
#include "core/message.h"
#include "support/temporary_folder.h"

namespace fovea::testing {

// Runs `ffmpeg ARGUMENTS FILE` in the folder; ARGUMENTS go through a shell. Returns the file's
// path.
inline std::filesystem::path make_clip(const TemporaryFolder& folder, const std::string& file,
                                       const std::string& arguments) {
  const std::string line = "cd " + folder.path().string() + " && ffmpeg -nostdin -v error -y " +
                           arguments + " " + file + " >ffmpeg.log 2>&1";
  EXPECT_EQ(std::system(line.c_str()), 0) << "ffmpeg " << arguments << "\n"
                                          << read_file(folder.path() / "ffmpeg.log");
  return folder.path() / file;
}

// A moving picture with a clock in it, as ffmpeg's input.
inline std::string moving(int width, int height, int fps, double seconds) {
  return fmt::format("-f lavfi -i testsrc2=size={}x{}:rate={}:duration={}", width, height, fps,
                     seconds);
}

inline VideoInput video_file(const std::filesystem::path& path,
                             const VideoSampling& sampling = {}) {
  return {path.filename().string(), nullptr, InputFile::open(path), sampling};
}

}  // namespace fovea::testing
