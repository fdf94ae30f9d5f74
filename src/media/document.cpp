#include "media/document.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/number.h"
#include "base/program.h"
#include "media/picture/decoders.h"

namespace fovea::media {
namespace {

constexpr const char* kWhere = "pdf";
constexpr double kPointsPerInch = 72;

std::string tool(const char* name, const MediaBytes& pdf) {
  const std::string path = find_program(name);
  if (!path.empty()) return path;
  fail(ErrorKind::kUnsupported,
       "[pdf] expected Poppler's '{}' (poppler-utils) to read '{}' but it is not there", name,
       pdf.name);
}

// A line's value in what pdfinfo prints, "Pages:          3"; empty where there is none.
std::string value_of(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key + ":")) continue;
    const size_t begin = line.find_first_not_of(' ', key.size() + 1);
    return begin == line.npos ? "" : line.substr(begin);
  }
  return "";
}

std::string info_of(const MediaBytes& pdf, int first, int last) {
  ProgramLimits limits;
  limits.seconds = kPdfSecondsMax;
  const auto result = run_program(
      {tool("pdfinfo", pdf), "-f", std::to_string(first), "-l", std::to_string(last), "-"},
      pdf.bytes, limits, kWhere);
  if (result.code == 0) return result.output;
  fail(ErrorKind::kInvalidData,
       "[pdf] expected a whole PDF without a password in '{}' but Poppler cannot read it",
       pdf.name);
}

// In points, as "Page    1 size:  595.276 x 841.89 pts (A4)" tells, upright.
std::map<int, std::pair<double, double>> page_sizes(const std::string& info) {
  std::map<int, std::pair<double, double>> sizes;
  std::istringstream lines(info);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string page, what, by;
    int number = 0;
    double width = 0, height = 0;
    if (words >> page >> number >> what && page == "Page" && what == "size:" &&
        words >> width >> by >> height) {
      sizes[number] = {width, height};
    }
    if (page == "Page" && what == "rot:" && words >> width && std::fmod(width, 180) != 0) {
      std::swap(sizes[number].first, sizes[number].second);
    }
  }
  return sizes;
}

}  // namespace

bool is_pdf(std::string_view bytes) { return bytes.starts_with("%PDF-"); }

std::vector<int> chosen_pages(const PageChoice& choice, int count, const std::string& name) {
  std::vector<int> pages;
  const auto refuse = [&] {
    fail(ErrorKind::kInvalidArgument,
         "[--pages] expected pages of 1 to {} of '{}' like 1-3,5 but got '{}'", count, name,
         choice.pages.value_or(""));
  };
  std::istringstream ranges(choice.pages.value_or("1-"));
  for (std::string range; std::getline(ranges, range, ',');) {
    const size_t dash = range.find('-');
    const std::string_view text = range;
    const auto first = read_number(text.substr(0, dash), 1, count);
    const bool open = dash != range.npos && dash + 1 == range.size();
    const auto last = open                 ? std::optional<int>(count)
                      : dash == range.npos ? first
                                           : read_number(text.substr(dash + 1), 1, count);
    if (!first || !last || *last < *first) refuse();
    for (int page = *first; page <= *last; ++page) {
      if (static_cast<int>(pages.size()) == kPdfPagesMax) {
        fail(ErrorKind::kTooLarge,
             "[pdf] expected at most {} pages of '{}' (--pages chooses) but got more", kPdfPagesMax,
             name);
      }
      pages.push_back(page);
    }
  }
  if (pages.empty()) refuse();
  return pages;
}

std::vector<MediaBytes> draw_pages(const MediaBytes& pdf, const PageChoice& choice) {
  const int count = read_number(value_of(info_of(pdf, 1, 1), "Pages"), 0, 1 << 24).value_or(0);
  if (count == 0) {
    fail(ErrorKind::kInvalidData, "[pdf] expected pages in '{}' but it has none", pdf.name);
  }
  const auto pages = chosen_pages(choice, count, pdf.name);
  const auto [low, high] = std::minmax_element(pages.begin(), pages.end());
  auto sizes = page_sizes(info_of(pdf, *low, *high));
  const auto name_of = [&](int page) { return fmt::format("{}, page {}", pdf.name, page); };
  for (const int page : pages) {
    const auto side = [&](double points) {
      return static_cast<int64_t>(
          std::ceil(std::clamp(points * choice.dpi / kPointsPerInch, 0.0, 1e9)));
    };
    picture::check_size(name_of(page), side(sizes[page].first), side(sizes[page].second));
  }
  std::vector<MediaBytes> pictures;
  for (const int page : pages) {
    ProgramLimits limits;
    limits.seconds = kPdfSecondsMax;
    limits.output_bytes = kPictureBytesMax;
    const std::string number = std::to_string(page);
    auto drawn = run_program({tool("pdftoppm", pdf), "-png", "-cropbox", "-r",
                              std::to_string(choice.dpi), "-f", number, "-l", number, "-"},
                             pdf.bytes, limits, kWhere);
    if (drawn.code != 0 || drawn.output.empty()) {
      fail(ErrorKind::kInvalidData, "[pdf] expected to draw '{}' but Poppler gave up (code {})",
           name_of(page), drawn.code);
    }
    pictures.push_back({name_of(page), std::move(drawn.output), page, count});
  }
  return pictures;
}

}  // namespace fovea::media
