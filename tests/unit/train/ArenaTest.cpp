// Memory that is given back behind what stays.

#include "runtime/train/Arena.h"

#include <gtest/gtest.h>

#include <numeric>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace lorac::train {
namespace {

/// Bytes 1, 2, … 251, 1, …: no page is like another.
void fill(Arena &arena) {
  for (uint64_t i = 0; i < arena.bytes(); ++i)
    arena.at<uint8_t>(0)[i] = uint8_t(i % 251 + 1);
}

Arena filled(uint64_t bytes) {
  Result<Arena> arena = Arena::allocate(bytes, "a test");
  EXPECT_TRUE(arena) << arena.error().message;
  for (uint64_t i = 0; i < bytes; ++i)
    EXPECT_EQ(arena->at<uint8_t>(0)[i], 0);
  fill(*arena);
  return std::move(*arena);
}

bool isMapped(const std::byte *place) {
  unsigned char resident = 0;
  const uintptr_t page = uintptr_t(place) / 4096 * 4096;
  return mincore(reinterpret_cast<void *>(page), 1, &resident) == 0;
}

TEST(Arena, ShrinksInPlace) {
  Arena arena = filled(10 * 4096 + 100);
  const std::byte *where = arena.data();
  arena.shrink(2 * 4096 + 5);
  EXPECT_EQ(arena.data(), where);
  EXPECT_EQ(arena.bytes(), 2 * 4096u + 5);
  for (uint64_t i = 0; i < arena.bytes(); ++i)
    ASSERT_EQ(arena.at<uint8_t>(0)[i], uint8_t(i % 251 + 1)) << i;
  EXPECT_TRUE(isMapped(where + 2 * 4096));
  EXPECT_FALSE(isMapped(where + 3 * 4096));
  EXPECT_FALSE(isMapped(where + 10 * 4096));
  // Again, to the same and to nothing; never larger.
  arena.shrink(2 * 4096 + 5);
  EXPECT_EQ(arena.bytes(), 2 * 4096u + 5);
  arena.shrink(1 << 20);
  EXPECT_EQ(arena.bytes(), 2 * 4096u + 5);
  arena.shrink(0);
  EXPECT_EQ(arena.bytes(), 0u);
}

TEST(Arena, ClearsWhatLiesBehind) {
  for (uint64_t bytes : {100ul, 4096ul, 5 * 4096ul, 5 * 4096ul + 1000})
    for (uint64_t begin : {0ul, 1ul, 99ul, 4095ul, 4096ul, 4097ul, 5 * 4096ul, 5 * 4096ul + 900}) {
      if (begin > bytes)
        continue;
      Arena arena = filled(bytes);
      arena.clearFrom(begin);
      EXPECT_EQ(arena.bytes(), bytes);
      for (uint64_t i = 0; i < bytes; ++i)
        ASSERT_EQ(arena.at<uint8_t>(0)[i], i < begin ? uint8_t(i % 251 + 1) : 0)
            << i << " of " << bytes << " from " << begin;
      fill(arena); // and is there to be written
    }
}

TEST(Arena, ClearsWithinWhatIsLeft) {
  Arena arena = filled(8 * 4096);
  arena.shrink(3 * 4096 + 8);
  arena.clearFrom(4096 + 16);
  for (uint64_t i = 0; i < arena.bytes(); ++i)
    ASSERT_EQ(arena.at<uint8_t>(0)[i], i < 4096 + 16 ? uint8_t(i % 251 + 1) : 0) << i;
}

TEST(Arena, GivesPagesBack) {
  constexpr uint64_t bytes = 64 << 20;
  Arena arena = filled(bytes);
  const uint64_t full = residentMemoryBytes();
  ASSERT_GT(full, bytes);
  arena.shrink(bytes / 2);
  const uint64_t half = residentMemoryBytes();
  EXPECT_LT(half, full - bytes / 4);
  arena.clearFrom(0);
  EXPECT_LT(residentMemoryBytes(), half - bytes / 4);
  EXPECT_GT(peakMemoryBytes(), half) << "which it keeps";
}

} // namespace
} // namespace lorac::train
