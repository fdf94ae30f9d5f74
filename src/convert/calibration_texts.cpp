// The calibration set that needs no file. All words are our own, and pictures are drawn.
#include <algorithm>
#include <array>

#include "convert/calibration.h"
#include "media/picture.h"

namespace fovea::convert {
namespace {

constexpr std::array kPages = {
    "The harbour lies where the river widens, an hour before it meets the sea. In the morning the "
    "boats come back with mackerel and herring, and by nine the market hall is loud with people "
    "who argue about prices they will pay in the end anyway. Behind the hall a narrow street "
    "climbs to the old town. Its houses are painted in colours that the wind has made pale: "
    "yellow, rust red, a blue that is nearly grey. From the church tower one sees three "
    "lighthouses, of which only the northern one is still in use.",
    "To sort a list by merging, cut it into two halves, sort each of them in the same way, and "
    "then walk along both with one finger on each, always taking the smaller of the two items. "
    "A list of one item is sorted already, so the cutting ends. Each level of the recursion looks "
    "at every item once, and there are about as many levels as the logarithm of the length; for a "
    "million items that makes twenty million steps, where comparing all pairs would need a "
    "million million.",
    "def running_mean(values, width):\n"
    "    total = 0.0\n"
    "    means = []\n"
    "    for index, value in enumerate(values):\n"
    "        total += value\n"
    "        if index >= width:\n"
    "            total -= values[index - width]\n"
    "        means.append(total / min(index + 1, width))\n"
    "    return means\n\n"
    "# Prints 1.0, 1.5, 2.5 and 3.5.\n"
    "for mean in running_mean([1, 2, 3, 4], 2):\n"
    "    print(f\"{mean:.1f}\")",
    "Am Rand des Dorfes steht eine Linde, die älter ist als die Kirche. Unter ihr trafen sich "
    "früher die Leute, wenn etwas zu entscheiden war: wer im Sommer das Wasser auf die Wiesen "
    "leiten durfte, wie viel Holz jeder Hof bekam, und was mit dem Stier geschehen sollte, der "
    "den Zaun des Müllers zerlegt hatte. Heute hält dort der Bus, zweimal am Tag, und die Kinder "
    "sitzen auf der Bank und warten.",
    "Water boils at 100 degrees Celsius at sea level, but at 93 degrees on a mountain of 2,000 "
    "metres, because the air above presses less. That is why an egg takes longer up there: not "
    "the boiling cooks it, the heat does. A pressure cooker turns this round. At twice the normal "
    "pressure water stays liquid up to 120 degrees, and beans that took 90 minutes are done in "
    "25.",
    "El tren sale de la estación a las siete y cuarto. Pasa primero entre naranjos, después por "
    "un valle estrecho donde apenas cabe la vía junto al río, y por fin llega a la meseta. La "
    "mujer que viaja enfrente lee el periódico de ayer; su hijo cuenta los postes y se pierde "
    "siempre al llegar a cien.",
    "{\"order\": 4711, \"customer\": {\"name\": \"A. Rivera\", \"city\": \"Graz\"}, \"lines\": "
    "[{\"item\": \"lamp\", \"count\": 2, \"price\": 39.9}, {\"item\": \"cable, 3 m\", \"count\": "
    "5, \"price\": 4.25}], \"paid\": true, \"note\": null}",
    "A contract needs an offer, an acceptance, and the will of both sides to be bound. Silence is "
    "no acceptance, as a rule. Whoever sends goods that nobody asked for has no claim to be paid, "
    "and the receiver need not send them back. It is otherwise between merchants who trade with "
    "each other all the time: there a letter that confirms what was agreed on the telephone "
    "counts unless it is contradicted at once.",
};

struct Exchange {
  const char* prompt;
  const char* answer;
};

constexpr std::array kExchanges = {
    Exchange{"What is the capital of Australia, and why not Sydney?",
             "Canberra. Sydney and Melbourne both wanted to be the capital, so in 1908 a place "
             "between the two was chosen and a new city was built there."},
    Exchange{"A shirt costs 40 euros after a discount of 20 percent. What did it cost before?",
             "50 euros. The discount leaves 80 percent of the price, and 40 / 0.8 = 50."},
    Exchange{"Write a haiku about a train at night.",
             "Windows, one by one,\ncarry their small lit kitchens\nthrough the sleeping wheat."},
    Exchange{"Explain in two sentences how a heat pump works.",
             "It lets a liquid evaporate outside, where it takes up heat even from cold air, then "
             "compresses the vapour so that it becomes hot and condenses inside. For each unit of "
             "electricity it moves three or four units of heat."},
    Exchange{"List three prime numbers between 20 and 40.", "1. 23\n2. 29\n3. 37"},
    Exchange{"Translate into French: The bridge is closed until Monday.",
             "Le pont est fermé jusqu'à lundi."},
    Exchange{"How do I find large files in a folder with a shell command?",
             "Use `du -ah . | sort -rh | head -20`. It lists the sizes of all files and folders, "
             "sorts them with the largest first, and shows the first twenty."},
    Exchange{"Who wrote the play in which a forest walks towards a castle?",
             "William Shakespeare. It is Macbeth: the soldiers carry branches of Birnam Wood as "
             "they come to Dunsinane."},
};

struct Rgb {
  int r, g, b;
};

struct Scene {
  Rgb sky;
  Rgb ground;
  Rgb box;
  Rgb disc;
  const char* prompt;
  const char* answer;
};

constexpr std::array kScenes = {
    Scene{{120, 170, 230},
          {60, 130, 50},
          {200, 40, 40},
          {240, 220, 60},
          "What is in this picture?",
          "A red box on green ground under a blue sky, and a yellow disc to the right of it."},
    Scene{{20, 20, 60},
          {90, 80, 70},
          {230, 230, 230},
          {90, 200, 210},
          "Describe the picture in one sentence.",
          "At night a white box stands on brown ground, with a turquoise disc beside it."},
    Scene{{250, 240, 220},
          {210, 180, 140},
          {40, 60, 160},
          {230, 120, 30},
          "Which colours do you see?",
          "Cream above, tan below, a dark blue box and an orange disc."},
    Scene{{190, 190, 200},
          {240, 240, 245},
          {70, 40, 90},
          {180, 60, 140},
          "Where is the disc?",
          "To the right of the purple box, a little higher, about two thirds from the left."},
};

constexpr Size kSceneSize = {448, 336};

// The scene with some noise, so that no patch is like another.
Image drawn(const Scene& scene) {
  Image image;
  image.size = kSceneSize;
  image.rgb.resize(static_cast<size_t>(3) * kSceneSize.width * kSceneSize.height);
  const auto& [width, height] = kSceneSize;
  uint32_t state = 1;
  size_t at = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int dx = x - width * 2 / 3;
      const int dy = y - height * 2 / 5;
      const bool in_box =
          x > width / 6 && x < width * 2 / 5 && y > height / 3 && y < height * 3 / 4;
      const Rgb& below = y < height / 2 ? scene.sky : scene.ground;
      const bool in_disc = dx * dx + dy * dy < height * height / 40;
      const Rgb& colour = in_disc ? scene.disc : in_box ? scene.box : below;
      state = state * 1664525u + 1013904223u;
      const int noise = static_cast<int>(state >> 28) - 8 + 20 * (y % 64) / 64;
      for (const int value : {colour.r, colour.g, colour.b}) {
        image.rgb[at++] = static_cast<uint8_t>(std::clamp(value + noise, 0, 255));
      }
    }
  }
  return image;
}

}  // namespace

std::vector<CalibrationSample> standard_calibration(bool with_pictures) {
  std::vector<CalibrationSample> samples;
  for (const char* page : kPages) samples.push_back({.text = page});
  for (const auto& [prompt, answer] : kExchanges) {
    samples.push_back({.prompt = prompt, .answer = answer});
  }
  for (size_t i = 0; with_pictures && i < kScenes.size(); ++i) {
    const Scene& scene = kScenes[i];
    samples.push_back({.prompt = scene.prompt,
                       .answer = scene.answer,
                       .images = {{fmt::format("scene {}", i), media::encode_png(drawn(scene))}}});
  }
  return samples;
}

}  // namespace fovea::convert
