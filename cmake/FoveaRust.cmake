# The Rust crates behind one static library with a small C header (rust/include/fovea_rust.h).
find_program(CARGO_PROGRAM cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
set(FOVEA_RUST_LIB ${CMAKE_BINARY_DIR}/rust/release/libfovea_rust.a)
file(GLOB FOVEA_RUST_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/rust/src/*.rs)
add_custom_command(
  OUTPUT ${FOVEA_RUST_LIB}
  COMMAND ${CARGO_PROGRAM} build --release --locked --quiet
          --manifest-path ${PROJECT_SOURCE_DIR}/rust/Cargo.toml
          --target-dir ${CMAKE_BINARY_DIR}/rust
  DEPENDS ${FOVEA_RUST_SOURCES} ${PROJECT_SOURCE_DIR}/rust/Cargo.toml
          ${PROJECT_SOURCE_DIR}/rust/Cargo.lock
  USES_TERMINAL
  COMMENT "cargo build (tokenizers, minijinja, safetensors)")
add_custom_target(fovea_rust_build DEPENDS ${FOVEA_RUST_LIB})
add_library(fovea_rust STATIC IMPORTED GLOBAL)
set_target_properties(fovea_rust PROPERTIES
  IMPORTED_LOCATION ${FOVEA_RUST_LIB}
  INTERFACE_INCLUDE_DIRECTORIES ${PROJECT_SOURCE_DIR}/rust/include)
target_link_libraries(fovea_rust INTERFACE pthread dl m)
add_dependencies(fovea_rust fovea_rust_build)
