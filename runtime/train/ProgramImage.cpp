// How much of memory programs take when they are loaded, by their segments.
#include "runtime/train/MemoryPlan.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <elf.h>
#include <fstream>
#include <link.h>

namespace lorac::train {
namespace {

constexpr uint64_t page = 4096;

uint64_t pagesOf(const Elf64_Phdr &segment) {
  if (segment.p_type != PT_LOAD)
    return 0;
  const uint64_t begin = segment.p_vaddr / page * page,
                 end = (segment.p_vaddr + segment.p_memsz + page - 1) / page * page;
  return end - begin;
}

/// What is held of the payload at first: its files, and the plan's text once more as JSON.
uint64_t heldAtFirst(uint64_t files, uint64_t planText) {
  constexpr uint64_t parsed = 16; // nodes of the parser, by a byte of text
  return files + parsed * planText;
}

} // namespace

uint64_t loadedBytes(std::string_view elf) {
  Elf64_Ehdr header;
  if (elf.size() < sizeof header || std::memcmp(elf.data(), ELFMAG, SELFMAG) != 0)
    return 0;
  std::memcpy(&header, elf.data(), sizeof header);
  uint64_t sum = 0;
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    const uint64_t at = header.e_phoff + uint64_t(i) * sizeof segment;
    if (at > elf.size() || elf.size() - at < sizeof segment)
      return 0;
    std::memcpy(&segment, elf.data() + at, sizeof segment);
    sum += pagesOf(segment);
  }
  return sum;
}

uint64_t loadedBytesHere(const std::vector<std::string> &only) {
  struct Sum {
    const std::vector<std::string> &only;
    uint64_t bytes = 0;
  } sum{only};
  dl_iterate_phdr(
      [](dl_phdr_info *info, size_t, void *data) {
        Sum &sum = *static_cast<Sum *>(data);
        const std::string name = info->dlpi_name ? info->dlpi_name : "";
        const bool counts = sum.only.empty() ||
                            std::any_of(sum.only.begin(), sum.only.end(), [&](const auto &part) {
                              return name.find(part) != std::string::npos;
                            });
        for (int i = 0; counts && i < info->dlpi_phnum; ++i)
          sum.bytes += pagesOf(info->dlpi_phdr[i]);
        return 0;
      },
      &sum);
  return sum.bytes;
}

ProgramImage imageHere(const Payload &payload) {
  ProgramImage image;
  image.code = loadedBytesHere();
  image.kernels = loadedBytes(payload.file("module.so"));
  uint64_t files = 0;
  for (const std::string &name : payload.names())
    files += payload.file(name).size();
  image.files = heldAtFirst(files, payload.file("plan.json").size());
  return image;
}

Result<ProgramImage> imageOf(const std::string &executable, const std::vector<PayloadFile> &files) {
  std::ifstream in(executable, std::ios::binary);
  std::string head(64 << 10, '\0');
  in.read(head.data(), std::streamsize(head.size()));
  head.resize(size_t(in.gcount()));
  ProgramImage image;
  image.code = loadedBytes(head);
  if (image.code == 0)
    return Error{"'" + executable + "' is no program for this machine"};
  // What it is linked with is here too.
  image.code += loadedBytesHere({"/libc.so", "/libm.so", "/ld-linux", "linux-vdso"});
  uint64_t sum = 0, planText = 0;
  for (const PayloadFile &file : files) {
    sum += file.bytes.size();
    if (file.name == "module.so")
      image.kernels = loadedBytes(file.bytes);
    if (file.name == "plan.json")
      planText = file.bytes.size();
  }
  image.files = heldAtFirst(sum, planText);
  return image;
}

} // namespace lorac::train
