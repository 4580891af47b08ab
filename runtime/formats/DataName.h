#pragma once
// What the end of a data file's name says about its format. The spec's checks and `--data` go by
// it where no format is given.

#include <string>
#include <string_view>

namespace lorac {

struct NamedFormat {
  std::string_view ending;
  std::string_view format; ///< "text", "jsonl" or "tokens"; "": none that is read here
  std::string_view mend;   ///< what to do where it is none
};

/// The format that follows from the name alone: text where the ending says nothing.
inline NamedFormat formatOfName(std::string_view path) {
  constexpr std::string_view asText = "set format = \"text\" to train on the file as it stands, or "
                                      "write an object with \"text\" a line to a .jsonl file";
  constexpr std::string_view unpack = "unpack it first";
  constexpr std::string_view convert = "write its text to a .txt or .jsonl file";
  constexpr NamedFormat known[] = {
      {".jsonl", "jsonl", ""},
      {".ndjson", "jsonl", ""},
      {".safetensors", "tokens", ""},
      {".json", "",
       "set format = \"jsonl\" if each line is an object with \"text\", or format = \"text\" to "
       "train on the file as it stands"},
      {".csv", "", asText},
      {".tsv", "", asText},
      {".html", "", asText},
      {".htm", "", asText},
      {".xml", "", asText},
      {".gz", "", unpack},
      {".zst", "", unpack},
      {".xz", "", unpack},
      {".bz2", "", unpack},
      {".zip", "", unpack},
      {".tar", "", unpack},
      {".tgz", "", unpack},
      {".parquet", "", convert},
      {".arrow", "", convert},
      {".feather", "", convert},
      {".pdf", "", convert},
      {".doc", "", convert},
      {".docx", "", convert},
      {".odt", "", convert},
      {".epub", "", convert},
      {".rtf", "", convert},
      {".xls", "", convert},
      {".xlsx", "", convert},
      {".sqlite", "", convert},
      {".db", "", convert},
      {".npy", "", convert},
      {".npz", "", convert},
      {".pkl", "", convert},
      {".pickle", "", convert},
      {".pt", "", convert},
      {".bin", "", convert},
  };
  std::string name(path.substr(path.rfind('/') + 1));
  for (char &c : name)
    c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  for (const NamedFormat &format : known)
    if (name.size() > format.ending.size() && name.ends_with(format.ending))
      return format;
  return {"", "text", ""};
}

} // namespace lorac
