#include "FakeProgram.h"

#include "runtime/train/Metrics.h"
#include "runtime/train/Progress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <unistd.h>

namespace lorac::train {
namespace {

TEST(Metrics, Line) {
  MetricsLine line;
  line.add("step", int64_t(3));
  line.add("loss", 0.1f);
  line.add("grad_norm", float(NAN));
  line.add("eval_loss", -INFINITY);
  line.add("note", std::string("a\"b\xff"));
  EXPECT_EQ(line.json(),
            R"({"step": 3, "loss": 0.1, "grad_norm": null, "eval_loss": null, "note": "a\"b)"
            "\xef\xbf\xbd"
            R"(", "nonfinite": {"grad_norm": "nan", "eval_loss": "-inf"}})");
}

TEST(Metrics, FileGoesOnBehindTheCheckpoint) {
  std::string path = testing::TempDir() + "metrics." + std::to_string(getpid());
  std::remove(path.c_str());
  {
    Result<MetricsFile> file = MetricsFile::open(path, 0);
    ASSERT_TRUE(file);
    for (int64_t step = 0; step < 4; ++step) {
      MetricsLine line;
      line.add("step", step);
      ASSERT_TRUE(file->write(line));
    }
    EXPECT_EQ(file->bytes(), 4 * 12u);
  }
  {
    ASSERT_TRUE(MetricsFile::open(path, 36));
  }
  EXPECT_EQ(fileBytes(path), "{\"step\": 0}\n{\"step\": 1}\n{\"step\": 2}\n");
  {
    ASSERT_TRUE(MetricsFile::openAtStep(path, 1));
  }
  EXPECT_EQ(fileBytes(path), "{\"step\": 0}\n{\"step\": 1}\n");
  EXPECT_FALSE(MetricsFile::open(testing::TempDir() + "no/such/folder", 0));
  std::remove(path.c_str());
}

TEST(Progress, Words) {
  EXPECT_EQ(formatBytes(512), "512 B");
  EXPECT_EQ(formatBytes(1536), "1.5 KiB");
  EXPECT_EQ(formatBytes(uint64_t(3) << 30), "3.0 GiB");
  EXPECT_EQ(formatDuration(65), "1:05");
  EXPECT_EQ(formatDuration(3723), "1:02:03");
  EXPECT_EQ(formatDuration(INFINITY), "?");
}

} // namespace
} // namespace lorac::train
