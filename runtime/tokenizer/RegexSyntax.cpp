#include "runtime/tokenizer/RegexSyntax.h"

#include "runtime/tokenizer/NewCharacters.h"

#include <optional>
#include <vector>

namespace lorac::tok {
namespace {

constexpr std::string_view spaces = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a})"
                                    R"(\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view noSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view hexDigits = "0-9a-fA-F";
constexpr int deepestClass = 32;

/// Letters, marks, digits, letter numbers, connectors, and the letters in circles and squares.
const std::string &wordCharacters() {
  static const std::string all =
      R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169})"
      R"(\x{1f170}-\x{1f189})" +
      newCharactersOf("L") + newCharactersOf("M") + newCharactersOf("Nd");
  return all;
}

/// `\d`.
const std::string &decimalDigits() {
  static const std::string all = R"(\p{Nd})" + newCharactersOf("Nd");
  return all;
}

/// What stands between the brackets for a class escape; nothing for other letters.
/// `negated`: the class is the complement of the text.
struct ClassEscape {
  std::string_view text;
  bool negated = false;
};

std::optional<ClassEscape> classEscape(char letter) {
  switch (letter) {
  case 's':
    return ClassEscape{spaces};
  case 'S':
    return ClassEscape{noSpaces};
  case 'd':
    return ClassEscape{decimalDigits()};
  case 'D':
    return ClassEscape{decimalDigits(), true};
  case 'w':
    return ClassEscape{wordCharacters()};
  case 'W':
    return ClassEscape{wordCharacters(), true};
  case 'h':
    return ClassEscape{hexDigits};
  case 'H':
    return ClassEscape{hexDigits, true};
  default:
    return std::nullopt;
  }
}

std::string bracketed(const ClassEscape &escape) {
  return (escape.negated ? "[^" : "[") + std::string(escape.text) + "]";
}

class Translator {
public:
  explicit Translator(std::string_view pattern) : in(pattern) {}

  Result<std::string> run() {
    while (pos < in.size()) {
      char c = in[pos];
      if (c == '\\') {
        beginAtom();
        escape();
      } else if (c == '[') {
        beginAtom();
        auto parsed = characterClass(0);
        if (!parsed)
          return parsed.error();
        out += *parsed;
      } else if (c == '(') {
        openGroup();
      } else if (c == ')') {
        if (!groups.empty()) {
          atom = groups.back();
          groups.pop_back();
        }
        out += c;
        ++pos;
      } else if (c == '{') {
        if (!interval()) {
          beginAtom();
          out += "\\{";
          ++pos;
        }
      } else {
        if (c != '*' && c != '+' && c != '?')
          beginAtom();
        out += c;
        ++pos;
      }
    }
    return out;
  }

private:
  void beginAtom() { atom = out.size(); }

  /// `\` outside a class.
  void escape() {
    if (pos + 1 >= in.size()) {
      out += '\\';
      ++pos;
      return;
    }
    if (auto known = classEscape(in[pos + 1])) {
      out += bracketed(*known);
      pos += 2;
    } else if (in[pos + 1] == 'b' || in[pos + 1] == 'B') {
      out += wordBoundary(in[pos + 1] == 'b');
      pos += 2;
    } else if (Property property = widenedProperty(); !property.text.empty()) {
      out += (property.negated ? "[^" : "[") + property.text + "]";
    } else {
      copyEscape(out);
    }
  }

  /// PCRE2's own has no marks among the word characters.
  static std::string wordBoundary(bool wanted) {
    std::string word = "[" + wordCharacters() + "]";
    std::string same = wanted ? "!" : "=";
    return "(?:(?<=" + word + ")(?" + same + word + ")|(?<!" + word + ")(?" + (wanted ? "=" : "!") +
           word + "))";
  }

  struct Property {
    std::string text; // for a class; empty: nothing to widen
    bool negated = false;
  };

  /// `\p{L}` and the like with the characters that PCRE2 does not know yet; moves behind it.
  Property widenedProperty() {
    char letter = in[pos + 1];
    if ((letter != 'p' && letter != 'P') || pos + 2 >= in.size())
      return {};
    std::string_view name = in.substr(pos + 2, 1);
    size_t end = pos + 3;
    bool negated = letter == 'P';
    if (name == "{") {
      size_t close = in.find('}', pos);
      if (close == std::string_view::npos)
        return {};
      name = in.substr(pos + 3, close - pos - 3);
      end = close + 1;
      if (!name.empty() && name[0] == '^') {
        negated = !negated;
        name.remove_prefix(1);
      }
    }
    std::string added = name.empty() || name.size() > 2 ? "" : newCharactersOf(name);
    if (added.empty())
      return {};
    pos = end;
    return {"\\p{" + std::string(name) + "}" + added, negated};
  }

  /// An escape that both dialects read alike, `\uHHHH` excepted.
  void copyEscape(std::string &to) {
    char letter = in[pos + 1];
    if (letter == 'u' && pos + 6 <= in.size()) {
      to += "\\x{" + std::string(in.substr(pos + 2, 4)) + "}";
      pos += 6;
      return;
    }
    to += in.substr(pos, 2);
    pos += 2;
    if ((letter == 'p' || letter == 'P' || letter == 'x') && pos < in.size() && in[pos] == '{') {
      size_t end = in.find('}', pos);
      end = end == std::string_view::npos ? in.size() : end + 1;
      to += in.substr(pos, end - pos);
      pos = end;
    }
  }

  /// `(`, and after `(?` the option letters: Oniguruma's `m` is PCRE2's `s`.
  void openGroup() {
    groups.push_back(out.size());
    out += in[pos++];
    if (pos >= in.size() || in[pos] != '?')
      return;
    out += in[pos++];
    size_t end = pos;
    while (end < in.size() &&
           (in[end] == 'i' || in[end] == 'm' || in[end] == 'x' || in[end] == '-'))
      ++end;
    if (end >= in.size() || (in[end] != ':' && in[end] != ')'))
      return;
    for (; pos < end; ++pos)
      out += in[pos] == 'm' ? 's' : in[pos];
  }

  /// `{n,m}` with the marks behind it; false where the brace is an ordinary character.
  bool interval() {
    size_t end = pos + 1;
    bool digits = false;
    bool comma = false;
    for (; end < in.size() && in[end] != '}'; ++end) {
      if (in[end] == ',' && !comma)
        comma = true;
      else if (in[end] >= '0' && in[end] <= '9')
        digits = true;
      else
        return false;
    }
    if (end >= in.size() || !digits || out.empty())
      return false;
    std::string_view text = in.substr(pos + 1, end - pos - 1);
    std::string counts =
        "{" + std::string(text.front() == ',' ? "0" : "") + std::string(text) + "}";
    pos = end + 1;
    out += counts;
    if (pos < in.size() && in[pos] == '+') { // a repeated repetition
      out.insert(atom, "(?:");
      out += ')';
    }
    return true;
  }

  /// A class from its `[` on, as text that matches one character.
  Result<std::string> characterClass(int depth) {
    if (depth > deepestClass)
      return Error{"a character class nests deeper than " + std::to_string(deepestClass)};
    ++pos;
    bool negated = pos < in.size() && in[pos] == '^';
    if (negated)
      ++pos;
    std::vector<std::string> operands; // of &&
    std::string body;
    std::vector<std::string> nested;
    auto closeOperand = [&] {
      std::string all = body.empty() ? "" : "[" + body + "]";
      for (const std::string &part : nested)
        all += (all.empty() ? "" : "|") + part;
      operands.push_back(nested.empty() ? all : "(?:" + all + ")");
      body.clear();
      nested.clear();
    };
    for (bool first = true;; first = false) {
      if (pos >= in.size())
        return Error{"a character class does not end"};
      char c = in[pos];
      if (c == ']' && !first) {
        ++pos;
        break;
      }
      if (c == '&' && in.substr(pos, 2) == "&&") {
        pos += 2;
        closeOperand();
      } else if (c == '[' && in.substr(pos, 2) == "[:" &&
                 in.find(":]", pos) != std::string_view::npos) {
        size_t end = in.find(":]", pos) + 2;
        body += in.substr(pos, end - pos);
        pos = end;
      } else if (c == '[') {
        auto inner = characterClass(depth + 1);
        if (!inner)
          return inner.error();
        nested.push_back(*inner);
      } else if (c == '\\' && pos + 1 < in.size()) {
        auto known = classEscape(in[pos + 1]);
        if (known && known->negated)
          nested.push_back(bracketed(*known));
        else if (known)
          body += known->text;
        if (known) {
          pos += 2;
        } else if (Property property = widenedProperty(); property.negated) {
          nested.push_back("[^" + property.text + "]");
        } else if (!property.text.empty()) {
          body += property.text;
        } else {
          copyEscape(body);
        }
      } else {
        if (c == ']')
          body += '\\';
        body += c;
        ++pos;
      }
    }
    if (operands.empty() && nested.empty())
      return (negated ? "[^" : "[") + body + "]";
    closeOperand();
    std::string positive;
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].empty())
        return Error{"an empty operand of '&&' in a character class"};
      positive += i + 1 < operands.size() ? "(?=" + operands[i] + ")" : operands[i];
    }
    return negated ? "(?:(?!" + positive + ")(?s:.))" : "(?:" + positive + ")";
  }

  std::string_view in;
  size_t pos = 0;
  std::string out;
  size_t atom = 0;            // where in `out` the atom begins that a quantifier would repeat
  std::vector<size_t> groups; // where in `out` the open groups begin
};

} // namespace

Result<std::string> toPcre(std::string_view pattern) { return Translator(pattern).run(); }

} // namespace lorac::tok
