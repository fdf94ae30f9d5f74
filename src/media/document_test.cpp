// PDFs, made here by hand: pages of one colour each.
#include "media/document.h"

#include <gtest/gtest.h>

#include "media/picture.h"
#include "media/source.h"
#include "support/expect_error.h"

namespace fovea::media {
namespace {

struct Page {
  int width = 0, height = 0;  // points
  const char* colour = "1 0 0";
  const char* more = "";  // entries of its dictionary
};

// Source: ISO 32000-1, section 7.5.
std::string pdf_of(const std::vector<Page>& pages) {
  std::string kids;
  std::vector<std::string> objects = {"<< /Type /Catalog /Pages 2 0 R >>", ""};
  for (const auto& page : pages) {
    const size_t number = objects.size() + 1;
    kids += fmt::format("{} 0 R ", number);
    const std::string draw =
        fmt::format("{} rg 0 0 {} {} re f", page.colour, page.width, page.height / 2);
    objects.push_back(
        fmt::format("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {} {}] /Contents {} 0 R {} >>",
                    page.width, page.height, number + 1, page.more));
    objects.push_back(fmt::format("<< /Length {} >>\nstream\n{}\nendstream", draw.size(), draw));
  }
  objects[1] = fmt::format("<< /Type /Pages /Kids [{}] /Count {} >>", kids, pages.size());
  std::string pdf = "%PDF-1.4\n";
  std::string table = fmt::format("xref\n0 {}\n0000000000 65535 f \n", objects.size() + 1);
  for (size_t i = 0; i < objects.size(); ++i) {
    table += fmt::format("{:010} 00000 n \n", pdf.size());
    pdf += fmt::format("{} 0 obj\n{}\nendobj\n", i + 1, objects[i]);
  }
  const size_t start = pdf.size();
  return pdf + table +
         fmt::format("trailer << /Size {} /Root 1 0 R >>\nstartxref\n{}\n%%EOF\n",
                     objects.size() + 1, start);
}

std::vector<uint8_t> pixel(const Image& image, int x, int y) {
  const auto* at = image.rgb.data() + 3 * (int64_t{y} * image.size.width + x);
  return {at, at + 3};
}

using Rgb = std::vector<uint8_t>;

TEST(Document, DrawsItsPages) {
  const std::string pdf = pdf_of({{72, 144, "1 0 0"},
                                  {144, 72, "0 1 0"},
                                  {72, 144, "0 0 1", "/Rotate 90"},
                                  {100, 100, "0 0 0", "/CropBox [0 0 50 40]"}});
  const auto pages = draw_pages({"a.pdf", pdf}, {std::nullopt, 72});
  ASSERT_EQ(pages.size(), 4u);
  const std::vector<Size> sizes = {{72, 144}, {144, 72}, {144, 72}, {50, 40}};
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto drawn = decode_picture(pages[i]);
    EXPECT_EQ(drawn.image.size, sizes[i]) << i;
    EXPECT_EQ(drawn.facts.page, static_cast<int>(i) + 1);
    EXPECT_EQ(drawn.facts.pages, 4);
    EXPECT_EQ(pages[i].name, fmt::format("a.pdf, page {}", i + 1));
  }
  const Image first = decode_picture(pages[0]).image;
  EXPECT_EQ(pixel(first, 10, 100), (Rgb{255, 0, 0}));
  EXPECT_EQ(pixel(first, 10, 20), (Rgb{255, 255, 255}));  // paper
  const Image turned = decode_picture(pages[2]).image;
  EXPECT_EQ(pixel(turned, 10, 30), (Rgb{0, 0, 255}));
  EXPECT_EQ(pixel(turned, 130, 30), (Rgb{255, 255, 255}));
  const auto sharp = draw_pages({"a.pdf", pdf}, {"2", 150});
  EXPECT_EQ(decode_picture(sharp.at(0)).image.size, (Size{300, 150}));
  EXPECT_EQ(decode_picture(sharp.at(0)).facts.page, 2);
}

TEST(Document, ChoosesPages) {
  const auto chosen = [](const char* text, int count = 9) {
    return chosen_pages({text, 72}, count, "a.pdf");
  };
  EXPECT_EQ(chosen("1-3,5"), (std::vector<int>{1, 2, 3, 5}));
  EXPECT_EQ(chosen("8-"), (std::vector<int>{8, 9}));
  EXPECT_EQ(chosen("9,1"), (std::vector<int>{9, 1}));
  EXPECT_EQ(chosen_pages({}, kPdfPagesMax, "a.pdf").size(), static_cast<size_t>(kPdfPagesMax));
  EXPECT_ERROR(chosen_pages({}, kPdfPagesMax + 1, "a.pdf"), ErrorKind::kTooLarge, "at most 32");
  for (const char* bad : {"", ",", "0", "10", "3-1", "-3", "1--2", "a", "1-x", "1,,2", "1-10"}) {
    EXPECT_ERROR(chosen(bad), ErrorKind::kInvalidArgument, "pages of 1 to 9 of 'a.pdf'");
  }
}

TEST(Document, IsHeldToItsBounds) {
  EXPECT_ERROR(draw_pages({"a.pdf", pdf_of({{14400, 14400}})}, {std::nullopt, 150}),
               ErrorKind::kTooLarge, "'a.pdf, page 1' but got 30000x30000");
  const std::string good = pdf_of({{72, 72}});
  for (const std::string& bad :
       {std::string("%PDF-1.7\n"), good.substr(0, 100), "%PDF-1.4\n" + std::string(5000, '('),
        std::string("%PDF-1.4\n1 0 obj << /Type /Catalog /Pages 1 0 R >> endobj\n"
                    "trailer << /Root 1 0 R >>")}) {
    EXPECT_ERROR(draw_pages({"bad.pdf", bad}, {}), ErrorKind::kInvalidData, "'bad.pdf'");
    EXPECT_EQ(draw_pages({"good.pdf", good}, {}).size(), 1u);
  }
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", "/nowhere", 1);
  EXPECT_ERROR(draw_pages({"a.pdf", good}, {}), ErrorKind::kUnsupported, "poppler-utils");
  ::setenv("PATH", path.c_str(), 1);
}

TEST(Document, ComesFromEverySource) {
  const std::string pdf = pdf_of({{72, 72}, {36, 36}});
  std::string uri = "data:application/pdf,";
  for (const unsigned char c : pdf) uri += fmt::format("%{:02x}", c);
  const auto pages = load_pictures(uri, SourcePolicy::strangers(), {"2", 72});
  ASSERT_EQ(pages.size(), 1u);
  EXPECT_EQ(decode_picture(pages[0]).image.size, (Size{36, 36}));
}

}  // namespace
}  // namespace fovea::media
