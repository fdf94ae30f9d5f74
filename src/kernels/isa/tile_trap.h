// Executes the tile instructions of a processor that has none: while it lives, the signal that they
// raise is answered by the thread's TileEmulator. So tests run the very code that is shipped, as
// the compiler arranged it, under sanitizers too. It needs a machine that refuses all of them
// (refuses_tile_instructions() in tiles.h), and one trap at a time. Only tests link it.
#pragma once

#include <csignal>

namespace fovea::kernels::isa {

class TileTrap {
 public:
  TileTrap();
  ~TileTrap();
  TileTrap(const TileTrap&) = delete;
  TileTrap& operator=(const TileTrap&) = delete;

 private:
  struct sigaction outer_;
};

}  // namespace fovea::kernels::isa
