# fovea_folder(NAME SOURCES a.cpp ... DEPS base ... [LIBS x ...])
#
# One static library fovea_NAME for src/NAME. SOURCES are listed by hand (tools/tidy reports a file
# that is in no list); tests beside the code are globbed, so that none can be forgotten. DEPS are
# other folders, LIBS third-party targets that stay private to this folder, PUBLIC_LIBS those whose
# headers our headers name (MLX).
function(fovea_folder NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LIBS;PUBLIC_LIBS" ${ARGN})
  set(target fovea_${NAME})
  add_library(${target} STATIC ${ARG_SOURCES})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC fovea_format ${ARG_PUBLIC_LIBS} PRIVATE fovea_flags ${ARG_LIBS})
  foreach(dep IN LISTS ARG_DEPS)
    target_link_libraries(${target} PUBLIC fovea_${dep})
  endforeach()

  if(NOT FOVEA_TESTS)
    return()
  endif()
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp)
  if(NOT tests)
    return()
  endif()
  add_executable(${NAME}_test ${tests})
  target_link_libraries(${NAME}_test
    PRIVATE ${target} fovea_flags fovea_test_support GTest::gtest_main GTest::gmock ${ARG_LIBS})
  gtest_discover_tests(${NAME}_test TEST_PREFIX ${NAME}. DISCOVERY_MODE PRE_TEST
    PROPERTIES TIMEOUT 300)
endfunction()

# fmt is our std::format until the compiler has it.
find_package(fmt REQUIRED)
add_library(fovea_format INTERFACE)
target_link_libraries(fovea_format INTERFACE fmt::fmt)

# Where tests find the repository's fixtures and the embedded model. One file alone is given the
# folder's name, so that clones side by side share the compiler cache.
if(FOVEA_TESTS)
  add_library(fovea_test_support STATIC ${PROJECT_SOURCE_DIR}/tests/support/source_path.cpp)
  find_package(OpenSSL REQUIRED COMPONENTS Crypto)  # SHA-256 of fixtures
  target_link_libraries(fovea_test_support PUBLIC OpenSSL::Crypto PRIVATE fovea_flags)
  target_include_directories(fovea_test_support PUBLIC ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(fovea_test_support PRIVATE FOVEA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endif()
