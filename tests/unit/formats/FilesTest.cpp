// Mapped and durable files.
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/Hash.h"
#include "runtime/formats/MappedFile.h"
#include "tests/unit/formats/Support.h"

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>

namespace lorac::formats {
namespace {

namespace fs = std::filesystem;

std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

size_t entries(const std::string &folder) {
  return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(MappedFile, refusesWhatIsNoRegularFile) {
  TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const auto &[path, words] :
       {std::pair<std::string, std::string>{folder / "pipe", "is a pipe"},
        {folder.path, "is a folder"},
        {"/dev/null", "is a device"},
        {folder / "absent", "No such file"}}) {
    Result<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
    ASSERT_FALSE(file) << path;
    EXPECT_NE(file.error().message.find(words), std::string::npos) << file.error().message;
    EXPECT_NE(file.error().message.find(path), std::string::npos) << file.error().message;
  }
}

TEST(MappedFile, mapsEmptyAndSmallFiles) {
  TempFolder folder;
  take(writeDurably(folder / "empty", ""));
  take(writeDurably(folder / "small", "abc"));
  EXPECT_TRUE(take(MappedFile::open(folder / "empty"))->bytes().empty());
  const auto small = take(MappedFile::open(folder / "small"));
  EXPECT_EQ(std::string(small->bytes().begin(), small->bytes().end()), "abc");
  EXPECT_EQ(take(readSmallFile(folder / "small", 3)), "abc");
  EXPECT_FALSE(readSmallFile(folder / "small", 2));
}

TEST(MappedFile, beneathMeansDirectlyInside) {
  TempFolder folder;
  take(writeDurably(folder / "plain", "abc"));
  ASSERT_EQ(symlink("plain", (folder / "link").c_str()), 0);
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(MappedFile::openBeneath(folder.path, "plain"));
  for (const std::string name : {"../x", "/etc/passwd", "..", "", "a/b", "link", "pipe"}) {
    Result<std::shared_ptr<const MappedFile>> file = MappedFile::openBeneath(folder.path, name);
    ASSERT_FALSE(file) << name;
    EXPECT_EQ(file.error().code, Exit::ForeignFile) << file.error().message;
  }
}

// The guard's own message, not a signal, when a mapped file shrinks.
TEST(MappedFileDeathTest, namesTheFileThatWasCutShort) {
  TempFolder folder;
  const std::string path = folder / "shrinks";
  take(writeDurably(path, std::string(1 << 16, 'x')));
  EXPECT_EXIT(
      {
        installSigbusGuard();
        const auto file = take(MappedFile::open(path));
        fs::resize_file(path, 100);
        volatile uint8_t sum = 0;
        for (const uint8_t byte : file->bytes())
          sum = uint8_t(sum + byte);
        _exit(0);
      },
      testing::ExitedWithCode(5), "shrinks' was cut short");
}

TEST(DurableFile, appearsWholeOrNotAtAll) {
  TempFolder folder;
  {
    DurableFile file = take(DurableFile::create(folder / "a"));
    take(file.write(std::string(3 << 20, 'y')));
    EXPECT_FALSE(fs::exists(folder / "a"));
  }
  EXPECT_EQ(entries(folder.path), 0u) << "what was given up is gone";
  DurableFile file = take(DurableFile::create(folder / "a"));
  take(file.write(std::string(3 << 20, 'y')));
  take(file.write("end"));
  take(file.commit());
  EXPECT_EQ(contents(folder / "a"), std::string(3 << 20, 'y') + "end");
  take(writeDurably(folder / "a", "new"));
  EXPECT_EQ(contents(folder / "a"), "new");
  EXPECT_EQ(entries(folder.path), 1u);
}

TEST(DurableFile, errorsNameThePath) {
  TempFolder folder;
  const std::string path = folder / "absent/a";
  Result<void> written = writeDurably(path, "x");
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("'" + path + "'"), std::string::npos)
      << written.error().message;
  ASSERT_EQ(mkdir((folder / "taken").c_str(), 0700), 0);
  EXPECT_FALSE(writeDurably(folder / "taken", "x"));
  EXPECT_EQ(entries(folder.path), 1u) << "nothing half-written beside the folder that has the name";
}

TEST(DurableDirectory, appearsWholeOrNotAtAll) {
  TempFolder folder;
  {
    DurableDirectory work = take(DurableDirectory::create(folder / "out/checkpoint-1"));
    take(writeDurably(work.workPath() + "/a", "1"));
  }
  EXPECT_EQ(entries(folder / "out"), 0u);
  for (const std::string text : {"first", "second"}) { // the second takes the name over
    DurableDirectory work = take(DurableDirectory::create(folder / "out/checkpoint-1/"));
    fs::create_directory(work.workPath() + "/inner");
    take(writeDurably(work.workPath() + "/inner/" + text, text));
    take(work.commit());
    EXPECT_EQ(entries(folder / "out"), 1u);
    EXPECT_EQ(contents(folder / "out/checkpoint-1/inner/" + text), text);
  }
  EXPECT_EQ(entries(folder / "out/checkpoint-1/inner"), 1u);
}

TEST(Hash, OfAFileIsAResult) {
  TempFolder folder;
  take(writeDurably(folder / "a", "abc"));
  EXPECT_EQ(take(hashFile(folder / "a")), hashHex("abc"));
  DurableFile file = take(DurableFile::create(folder / "b"));
  take(file.write("ab"));
  take(file.write("c"));
  EXPECT_EQ(file.hash(), hashHex("abc"));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::string &path : {folder / "absent", folder / "pipe", folder.path}) {
    Result<std::string> hash = hashFile(path);
    ASSERT_FALSE(hash) << path;
    EXPECT_NE(hash.error().message.find("'" + path + "'"), std::string::npos);
  }
}

TEST(Leftovers, GoWithTheirProcess) {
  TempFolder folder;
  const pid_t child = fork();
  if (child == 0)
    _exit(0);
  waitpid(child, nullptr, 0);
  const std::string gone = std::to_string(child), here = std::to_string(getpid());
  for (const std::string &name :
       std::vector<std::string>{"a.tmp-" + gone + "-0", "a.tmp-" + gone + "-1.old", "a.tmp-1-0",
                                "a.tmp-x-0", "a.tmp-" + gone, "other.tmp-" + gone + "-0", "a"})
    std::ofstream(folder / name) << "x";
  fs::create_directories(folder / ("a.tmp-" + gone + "-7/inner"));
  DurableFile held = take(DurableFile::create(folder / "a")); // by this very process
  removeLeftoversOf(folder / "a");
  std::vector<std::string> names;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder.path))
    if (entry.path().filename().string().find("a.tmp-" + here) != 0)
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  std::vector<std::string> left = {"a", "a.tmp-1-0", "a.tmp-" + gone, "a.tmp-x-0",
                                   "other.tmp-" + gone + "-0"};
  std::sort(left.begin(), left.end());
  EXPECT_EQ(names, left);
  take(held.commit());
  EXPECT_EQ(contents(folder / "a"), "");
}

TEST(MakeFolder, MakesParentsAndNamesWhatIsInTheWay) {
  TempFolder folder;
  take(makeFolder(folder / "x/y/z/"));
  EXPECT_TRUE(fs::is_directory(folder / "x/y/z"));
  take(makeFolder(folder / "x/y/z"));
  std::ofstream(folder / "file") << "x";
  EXPECT_FALSE(makeFolder(folder / "file"));
  EXPECT_FALSE(makeFolder(folder / "file/below"));
}

TEST(FolderManifest, ReadsWhatItWroteAndFindsEveryFlip) {
  TempFolder folder;
  EXPECT_FALSE(take(FolderManifest::read(folder.path)));
  FolderManifest manifest;
  manifest.spec = "a \xff spec";
  manifest.files = {{"a", hashHex("1")}, {"metrics.jsonl", FolderManifest::grows}};
  manifest.pending = {{"b", hashHex("2")}};
  manifest.replaced = {{"a", hashHex("0")}};
  manifest.programs = R"([{"step": 3}])";
  take(manifest.write(folder.path));
  const std::string path = folder / FolderManifest::fileName, good = contents(path);
  const auto read = take(FolderManifest::read(folder.path));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->files, manifest.files);
  EXPECT_EQ(read->pending, manifest.pending);
  EXPECT_EQ(read->replaced, manifest.replaced);
  EXPECT_TRUE(read->lists("a", hashHex("0")));
  EXPECT_FALSE(read->lists("a", hashHex("2")));
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = char(bad[at] ^ 1);
    std::ofstream(path, std::ios::binary) << bad;
    const auto result = FolderManifest::read(folder.path);
    // White space between members carries nothing.
    EXPECT_TRUE(!result || good[at] == ' ' || good[at] == '\n') << at;
  }
  for (const char *text : {"{}", "[]", "{\"name\": \"my app\"}", "x"}) {
    std::ofstream(path, std::ios::binary) << text;
    const auto foreign = FolderManifest::read(folder.path);
    ASSERT_FALSE(foreign) << text;
    EXPECT_EQ(foreign.error().code, Exit::Refused) << text;
    EXPECT_FALSE(foreign.error().corrupt);
  }
  std::ofstream(path, std::ios::trunc).close(); // what a full disk or a power cut makes of one
  const auto empty = FolderManifest::read(folder.path);
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, Exit::ForeignFile);
  EXPECT_TRUE(empty.error().corrupt);
}

} // namespace
} // namespace lorac::formats
