// Part of amx.cpp: the tiles of the processor. Kernels take the type as a parameter `Tiles`; tests
// give them the emulator's (amx_emulated.cpp). A kernel call makes one Session, on the thread that
// runs it, and uses the tiles while it lives: the pool's threads and MLX's stream thread need no
// further care, and since tiles are released at the end, a switch to another thread in between
// calls saves none of their 8 KB. Loading a configuration costs some hundred cycles, a kernel call
// some ten thousand at least.
//
// The compiler's intrinsics are not used: those of g++ 12 paste the number of a tile as text, so it
// cannot be a constant of a template, and they do not say that tileloadd reads memory (nor that
// ldtilecfg reads more than 8 bytes), so that stores before them may be moved behind them.

struct HardwareTiles {
  class Session {
   public:
    Session() {
      static constexpr TileConfig kConfig;
      asm volatile("ldtilecfg %0" : : "m"(kConfig) : "memory");
    }
    ~Session() { asm volatile("tilerelease" : : : "memory"); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
  };

  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  static void load(const void* base, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(base), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store(void* base, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                 :
                 : "r"(base), "r"(stride), "i"(kTile)
                 : "memory");
  }
  // sums += a * b.
  template <int kSums, int kA, int kB>
  static void multiply_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kB));
  }
  // a unsigned, b signed.
  template <int kSums, int kA, int kB>
  static void multiply_bytes() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kB));
  }
};
