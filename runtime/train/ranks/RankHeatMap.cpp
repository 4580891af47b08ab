#include "runtime/train/ranks/RankHeatMap.h"

#include "runtime/train/JsonFields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

namespace lorac::train {

namespace {

constexpr size_t mostColumns = 96;

/// Text of an SVG: markup escaped, control characters and what is no UTF-8 left out.
std::string escaped(const std::string &text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    size_t length = c < 0x80                ? 1
                    : c >= 0xC2 && c < 0xE0 ? 2
                    : c >= 0xE0 && c < 0xF0 ? 3
                    : c >= 0xF0 && c < 0xF5 ? 4
                                            : 0;
    bool good = length > 0 && i + length <= text.size() && c >= 0x20 && c != 0x7F;
    for (size_t j = 1; good && j < length; ++j)
      good = (static_cast<unsigned char>(text[i + j]) & 0xC0) == 0x80;
    if (!good) {
      ++i;
      continue;
    }
    std::string_view character(text.data() + i, length);
    if (character == "&")
      out += "&amp;";
    else if (character == "<")
      out += "&lt;";
    else if (character == ">")
      out += "&gt;";
    else if (character == "\"")
      out += "&quot;";
    else
      out += character;
    i += length;
  }
  return out;
}

/// The names without what all of them begin with, cut at a dot.
std::vector<std::string> shortNames(const std::vector<std::string> &names, std::string &prefix) {
  if (names.size() > 1) {
    prefix = names.front();
    for (const std::string &name : names)
      prefix.resize(
          size_t(std::mismatch(prefix.begin(), prefix.end(), name.begin(), name.end()).first -
                 prefix.begin()));
    prefix.resize(prefix.rfind('.') == std::string::npos ? 0 : prefix.rfind('.') + 1);
  }
  std::vector<std::string> out;
  for (const std::string &name : names)
    out.push_back(name.substr(prefix.size()));
  return out;
}

std::vector<const RankHistory::Column *> drawn(const RankHistory &history) {
  std::vector<const RankHistory::Column *> out;
  const bool many = history.columns.size() > mostColumns;
  for (const RankHistory::Column &column : history.columns)
    if (!many || out.empty() || out.back()->ranks != column.ranks)
      out.push_back(&column);
  if (out.size() <= mostColumns)
    return out;
  std::vector<const RankHistory::Column *> few;
  for (size_t i = 0; i < mostColumns; ++i)
    few.push_back(out[i * (out.size() - 1) / (mostColumns - 1)]);
  return few;
}

/// From pale yellow over green to dark blue: light says few, and it reads in grey too.
std::string colour(double part) {
  static constexpr std::array<std::array<double, 3>, 5> stops = {
      {{255, 250, 205}, {161, 218, 180}, {65, 182, 196}, {44, 110, 168}, {27, 40, 110}}};
  double at = std::clamp(part, 0.0, 1.0) * double(stops.size() - 1);
  size_t low = std::min(size_t(at), stops.size() - 2);
  auto mix = [&](size_t channel) {
    return int(std::lround(stops[low][channel] +
                           (at - double(low)) * (stops[low + 1][channel] - stops[low][channel])));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2));
}

constexpr const char *nothing = "#ffffff"; // rank 0

} // namespace

Result<RankHistory> readRankHistory(const std::string &metricsFile,
                                    const std::vector<std::string> &modules) {
  std::ifstream in(metricsFile);
  if (!in)
    return Error{"cannot read '" + metricsFile + "'"};
  RankHistory history;
  history.modules = modules;
  for (std::string text; std::getline(in, text);) {
    // Lines of programs repeat the ranks that one was asked for at.
    if (text.find("\"rank_pattern\"") == std::string::npos ||
        text.find("\"program_ranks\"") != std::string::npos)
      continue;
    LORAC_TRY_ASSIGN(Json json, parseJson(text, metricsFile));
    std::string error;
    const Fields line(json, metricsFile, error), pattern = line.at("rank_pattern");
    RankHistory::Column column{line.integer("step"), {}};
    for (const std::string &module : modules)
      column.ranks.push_back(pattern.integer(module.c_str(), 0, 1 << 20));
    if (!error.empty())
      return Error{error, Exit::ForeignFile};
    history.columns.push_back(std::move(column));
  }
  return history;
}

std::string rankHeatMap(const RankHistory &history) {
  const std::vector<const RankHistory::Column *> columns = drawn(history);
  std::string prefix;
  const std::vector<std::string> names = shortNames(history.modules, prefix);
  int64_t most = 1;
  size_t longest = 0;
  for (const RankHistory::Column *column : columns)
    for (int64_t rank : column->ranks)
      most = std::max(most, rank);
  for (const std::string &name : names)
    longest = std::max(longest, name.size());

  const int rows = int(names.size()), count = int(columns.size());
  const int cellHeight = rows > 60 ? 12 : 18;
  const int cellWidth = std::clamp(count ? 720 / count : 720, 8, 48);
  const int left = 24 + int(longest) * 7, top = 72;
  const int legend = left + std::max(count * cellWidth, 160) + 24;
  const std::string title = history.title.empty() ? "Ranks" : "Ranks of " + history.title;
  const std::string subtitle = "Live rank of each module after each allocation" +
                               (prefix.empty() ? "" : "; names without \"" + prefix + "\"");
  const int bottom = top + rows * cellHeight;
  const int width = 32 + std::max({legend + 80, int(title.size()) * 10, int(subtitle.size()) * 7});
  const int height = std::max(bottom, top + 160) + 72;
  const bool numbers = cellWidth >= 20 && cellHeight >= 14;

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"11\" fill=\"#222222\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
      width, height);
  svg += fmt::format("<text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
                     escaped(title));
  svg += fmt::format("<text x=\"16\" y=\"46\" fill=\"#555555\">{}</text>\n", escaped(subtitle));

  for (int row = 0; row < rows; ++row) {
    const int y = top + row * cellHeight;
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-size=\"{}\">{}</text>\n",
                       left - 8, y + cellHeight / 2 + 4, cellHeight > 14 ? 11 : 10,
                       escaped(names[size_t(row)]));
    for (int i = 0; i < count; ++i) {
      const RankPattern &ranks = columns[size_t(i)]->ranks;
      const int64_t rank = size_t(row) < ranks.size() ? ranks[size_t(row)] : 0;
      const double part = double(rank) / double(most);
      const int x = left + i * cellWidth;
      svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" "
                         "stroke=\"#dddddd\" stroke-width=\"0.5\"><title>{}, step {}: rank {}"
                         "</title></rect>\n",
                         x, y, cellWidth, cellHeight, rank ? colour(part) : nothing,
                         escaped(history.modules[size_t(row)]), columns[size_t(i)]->step, rank);
      if (numbers)
        svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10\" "
                           "fill=\"{}\">{}</text>\n",
                           x + cellWidth / 2, y + cellHeight / 2 + 4,
                           rank == 0     ? "#aaaaaa"
                           : part > 0.55 ? "#ffffff"
                                         : "#222222",
                           rank);
    }
  }

  // Steps, as many as stand side by side; then all ranks together.
  size_t digits = 1;
  for (const RankHistory::Column *column : columns)
    digits = std::max(digits, std::to_string(column->step).size());
  const int every = std::max(1, (int(digits) * 7 + 10 + cellWidth - 1) / cellWidth);
  svg += fmt::format("<text x=\"{0}\" y=\"{1}\" text-anchor=\"end\" fill=\"#555555\">step</text>\n"
                     "<text x=\"{0}\" y=\"{2}\" text-anchor=\"end\" fill=\"#555555\">ranks together"
                     "</text>\n",
                     left - 20, bottom + 18, bottom + 34);
  for (int i = 0; i < count; i += every) {
    const int x = left + i * cellWidth + cellWidth / 2;
    svg += fmt::format("<line x1=\"{0}\" y1=\"{1}\" x2=\"{0}\" y2=\"{2}\" stroke=\"#888888\"/>\n"
                       "<text x=\"{0}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n"
                       "<text x=\"{0}\" y=\"{5}\" text-anchor=\"middle\" fill=\"#555555\">{6}"
                       "</text>\n",
                       x, bottom, bottom + 4, bottom + 18, columns[size_t(i)]->step, bottom + 34,
                       totalRank(columns[size_t(i)]->ranks));
  }

  // The legend: a bar of colours, 0 apart from it.
  constexpr int barHeight = 120, parts = 24;
  svg += fmt::format("<text x=\"{}\" y=\"{}\">rank</text>\n", legend, top + 4);
  for (int i = 0; i < parts; ++i)
    svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"16\" height=\"{}\" fill=\"{}\"/>\n", legend,
                       top + 12 + i * barHeight / parts, barHeight / parts,
                       colour(1 - double(i) / (parts - 1)));
  for (int64_t mark : {most, (most + 1) / 2, int64_t(1)}) {
    const double part = most > 1 ? double(mark) / double(most) : 1;
    svg += fmt::format("<text x=\"{}\" y=\"{:.0f}\">{}</text>\n", legend + 22,
                       top + 12 + (1 - part) * barHeight + 4, mark);
    if (most < 3)
      break;
  }
  svg += fmt::format("<rect x=\"{0}\" y=\"{1}\" width=\"16\" height=\"14\" fill=\"{2}\" "
                     "stroke=\"#aaaaaa\"/>\n<text x=\"{3}\" y=\"{4}\">0: no update</text>\n",
                     legend, top + 12 + barHeight + 10, nothing, legend + 22,
                     top + 12 + barHeight + 21);
  return svg + "</svg>\n";
}

} // namespace lorac::train
