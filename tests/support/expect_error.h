// EXPECT_ERROR(statement, kind, "part of the message"): the statement throws fovea::Error of that
// kind whose message contains the part.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

#define EXPECT_ERROR(statement, expected_kind, part)                              \
  do {                                                                            \
    try {                                                                         \
      statement;                                                                  \
      ADD_FAILURE() << "expected an error that says: " << (part);                 \
    } catch (const ::fovea::Error& caught) {                                      \
      EXPECT_EQ(static_cast<int>(caught.kind()), static_cast<int>(expected_kind)) \
          << caught.what();                                                       \
      EXPECT_THAT(std::string(caught.what()), ::testing::HasSubstr(part));        \
    }                                                                             \
  } while (false)
