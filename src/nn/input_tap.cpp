#include "nn/input_tap.h"

#include <cassert>

namespace fovea::nn {
namespace {

thread_local InputTap* living = nullptr;

}  // namespace

InputTap::InputTap() {
  assert(!living);
  living = this;
}

InputTap::~InputTap() { living = nullptr; }

InputTap* InputTap::current() { return living; }

}  // namespace fovea::nn
