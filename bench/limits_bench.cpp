// This machine's limits as one JSON object.
#include <cstdio>

#include "limits.h"

int main() {
  std::printf("%s\n", fovea::bench::measure_limits().json().dump().c_str());
  return 0;
}
