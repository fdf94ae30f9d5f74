// Ctrl-C. A process that was started with it ignored goes on ignoring it. Main thread only, but for
// interrupted().
#pragma once

namespace fovea::cli {

// From now on Ctrl-C wipes the progress line before it ends the process.
void watch_interrupts();

// From now on the first Ctrl-C is only noted; the second ends the process.
void hold_interrupts();

// A Ctrl-C was noted. Any thread may ask.
bool interrupted();

}  // namespace fovea::cli
