# Flags of our own code. The whole binary is built for x86-64-v2; only the files under
# kernels/isa are compiled for more, each with flags of its own, and chosen at start by CPUID.
add_library(fovea_flags INTERFACE)
target_compile_options(fovea_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  -Wno-missing-field-initializers -Werror)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(fovea_flags INTERFACE -march=x86-64-v2)
endif()
if(FOVEA_SANITIZE)
  # Instrumented code hides from g++ 12 that optional values are set where they are read.
  target_compile_options(fovea_flags INTERFACE -Wno-maybe-uninitialized)
  target_compile_options(fovea_flags INTERFACE -fsanitize=${FOVEA_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(fovea_flags INTERFACE -fsanitize=${FOVEA_SANITIZE})
  if(FOVEA_SANITIZE STREQUAL "thread")
    # Boost.Asio's fences, which this sanitizer does not know.
    target_compile_definitions(fovea_flags INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(LLD_PROGRAM ld.lld)
if(LLD_PROGRAM)
  add_link_options(-fuse-ld=lld)
endif()
