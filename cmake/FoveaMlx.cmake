# MLX from the unpacked wheel that ./dev puts under build/mlx; src/cli sets the binary's run path.
set(FOVEA_MLX_DIR ${PROJECT_SOURCE_DIR}/build/mlx CACHE PATH "Unpacked MLX wheel")
find_package(MLX 0.32.4 EXACT REQUIRED CONFIG
  PATHS ${FOVEA_MLX_DIR}/mlx/share/cmake/MLX NO_DEFAULT_PATH)

# Third-party headers are system headers: their warnings are not ours.
get_target_property(mlx_includes mlx INTERFACE_INCLUDE_DIRECTORIES)
set_target_properties(mlx PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${mlx_includes}")
