#include "kernels/isa/tile_trap.h"

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/isa/tile_emulator.h"

namespace fovea::kernels::isa {
namespace {

constexpr int kRegisters[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

// An instruction with a prefix of three bytes, of the map 0F38, as all of tiles are.
class Instruction {
 public:
  enum Prefix { kNone, k66, kF3, kF2 };

  Instruction(const uint8_t* at, const greg_t* registers) : at_(at), registers_(registers) {}

  // Byte by byte: another instruction may end where the readable memory does.
  bool is_of_tiles() const {
    return at_[0] == 0xc4 && (at_[1] & 0x1f) == 2 && (at_[2] & 0x84) == 0 &&
           (opcode() == 0x49 || opcode() == 0x4b || opcode() == 0x5c || opcode() == 0x5e);
  }
  int opcode() const { return at_[3]; }
  Prefix prefix() const { return static_cast<Prefix>(at_[2] & 3); }
  int reg() const { return at_[4] >> 3 & 7; }
  int rm() const { return at_[4] & 7; }
  int third() const { return ~at_[2] >> 3 & 15; }
  bool has_memory() const { return at_[4] >> 6 != 3; }

  const uint8_t* end() const { return at_ + 5 + (has_memory() ? sib_bytes() + offset_bytes() : 0); }

  // The address without, and the distance that an index gives.
  uint8_t* base() const {
    intptr_t sum = offset();
    if (is_relative()) {
      sum += reinterpret_cast<intptr_t>(end());
    } else if (!lacks_base()) {
      sum += registers_[kRegisters[base_number() | extension(5)]];
    }
    return reinterpret_cast<uint8_t*>(sum);
  }
  int64_t stride() const {
    const int index = (at_[5] >> 3 & 7) | extension(6);
    return index == 4 ? 0 : registers_[kRegisters[index]] << (at_[5] >> 6);
  }

 private:
  int mod() const { return at_[4] >> 6; }
  int extension(int bit) const { return (~at_[1] >> bit & 1) << 3; }
  int sib_bytes() const { return rm() == 4 ? 1 : 0; }
  int base_number() const { return rm() == 4 ? at_[5] & 7 : rm(); }
  bool is_relative() const { return mod() == 0 && rm() == 5; }
  bool lacks_base() const { return mod() == 0 && rm() == 4 && (at_[5] & 7) == 5; }
  int offset_bytes() const {
    if (mod() == 1) return 1;
    return mod() == 2 || is_relative() || lacks_base() ? 4 : 0;
  }
  intptr_t offset() const {
    const uint8_t* from = at_ + 5 + sib_bytes();
    if (offset_bytes() == 1) return static_cast<int8_t>(*from);
    int32_t wide = 0;
    if (offset_bytes() == 4) std::memcpy(&wide, from, 4);
    return wide;
  }

  const uint8_t* at_;
  const greg_t* registers_;
};

void configure(const Instruction& i, TileEmulator& tiles) {
  if (i.prefix() == Instruction::kF2) return tiles.zero(i.reg());
  if (i.prefix() != Instruction::kNone) throw TileFault("an instruction that is not emulated");
  i.has_memory() ? tiles.configure(i.base()) : tiles.release();
}

void execute(const Instruction& i, TileEmulator& tiles) {
  const auto prefix = i.prefix();
  switch (i.opcode()) {
    case 0x49:
      return configure(i, tiles);
    case 0x4b:
      if (prefix == Instruction::kF3) return tiles.store(i.reg(), i.base(), i.stride());
      return tiles.load(i.reg(), i.base(), i.stride());
    case 0x5c:
      if (prefix != Instruction::kF3) throw TileFault("a product that is not emulated");
      return tiles.multiply_bf16(i.reg(), i.rm(), i.third());
    default: {
      const bool a_signed = prefix == Instruction::kF2 || prefix == Instruction::kF3;
      const bool b_signed = prefix == Instruction::kF2 || prefix == Instruction::k66;
      return tiles.multiply_bytes(i.reg(), i.rm(), i.third(), a_signed, b_signed);
    }
  }
}

void on_signal(int signal, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const Instruction instruction(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), registers);
  if (!instruction.is_of_tiles()) {
    std::signal(signal, SIG_DFL);  // raised again on return
    return;
  }
  try {
    execute(instruction, TileEmulator::here());
  } catch (const TileFault& fault) {
    std::fprintf(stderr, "tile instruction: %s\n", fault.what());
    std::abort();
  }
  registers[REG_RIP] = reinterpret_cast<greg_t>(instruction.end());
}

}  // namespace

TileTrap::TileTrap() {
  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &outer_);
}

TileTrap::~TileTrap() { sigaction(SIGILL, &outer_, nullptr); }

}  // namespace fovea::kernels::isa
