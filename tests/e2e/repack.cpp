// repack TRAIN PLAN OUT: TRAIN with the file PLAN as its plan.json, and hashes that are right.
#include "runtime/train/Payload.h"

#include <cstdio>
#include <fstream>
#include <iterator>

int main(int argc, char **argv) {
  using namespace lorac::train;
  if (argc != 4)
    return 2;
  auto payload = Payload::read(argv[1]);
  if (!payload)
    return 1;
  std::ifstream in(argv[2], std::ios::binary);
  const std::string plan{std::istreambuf_iterator<char>(in), {}};
  std::vector<PayloadFile> files;
  for (const std::string &name : payload->names())
    files.push_back({name, name == "plan.json" ? plan : payload->file(name)});
  return writeTrainBinary(argv[1], files, argv[3]) ? 0 : 1;
}
