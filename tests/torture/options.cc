#include "options.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <random>
#include <sstream>
#include <string_view>

#include "methods.h"

namespace lockscope::torture {
namespace {

bool IsOneOf(const std::string& word, const std::vector<std::string>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

template <typename T>
bool Number(const std::string& text, T& number) {
  const char* end = text.data() + text.size();
  return std::from_chars(text.data(), end, number) == std::from_chars_result{end, std::errc()} &&
         text.front() != '-';
}

bool Kinds(const std::string& list, std::vector<std::string>& kinds) {
  kinds.clear();
  std::istringstream words(list);
  for (std::string kind; std::getline(words, kind, ',');) {
    if (!IsOneOf(kind, {"snapshot", "write", "exclusive"})) return false;
    kinds.push_back(kind);
  }
  return !kinds.empty();
}

bool Word(const std::string& word, const std::vector<std::string>& known, std::string& target) {
  target = word;
  return IsOneOf(word, known);
}

}  // namespace

const char* const kUsage =
    "usage: torture [--barriers N] [--seconds S] [--seed X] [--journal MODE] [--kinds LIST]\n"
    "               [--method METHOD] [--copies WHICH] [--accounts N] [--pause US]\n"
    "               [--timeout MS] [--dir FOLDER] [--calm] [--json]\n"
    "       torture --controls [--barriers N] [--seconds S] [--accounts N] [--pause US] [--seed "
    "X]\n"
    "  --barriers N    how many (100)\n"
    "  --seconds S     no more than so long (0: no limit)\n"
    "  --seed X        of everything that is random (printed)\n"
    "  --journal MODE  wal, delete, truncate, persist\n"
    "  --kinds LIST    of snapshot,write,exclusive (all)\n"
    "  --method M      ours, none, naive, read-released, read-held, immediate,\n"
    "                  immediate-alone, backup\n"
    "  --copies WHICH  exact (the listed bytes), whole, random (either)\n"
    "  --accounts N    in each of the two databases (1000)\n"
    "  --pause US      the longest pause after each chunk of a copy (200)\n"
    "  --timeout MS    of a barrier (5000)\n"
    "  --dir FOLDER    where the databases are made (/dev/shm, else the one for temporary files)\n"
    "  --calm          always both databases, and no moments in which all close theirs\n"
    "  --json          the figures as JSON\n"
    "  --controls      all methods in turn, as a Markdown table\n"
    "Exit status: 0 where no copy was bad, no cut broken, no barrier wrongly called violated.\n";

std::optional<Options> ParseOptions(int argc, char** argv) {
  Options options;
  options.seed = std::random_device{}() % 1'000'000'000U;
  const std::map<std::string_view, bool*> flags = {
      {"--calm", &options.calm}, {"--json", &options.json}, {"--controls", &options.controls}};
  const std::map<std::string_view, int*> numbers = {{"--barriers", &options.barriers},
                                                    {"--seconds", &options.seconds},
                                                    {"--accounts", &options.accounts},
                                                    {"--pause", &options.pause_us},
                                                    {"--timeout", &options.timeout_ms}};
  const std::vector<std::string> methods(std::begin(kMethods), std::end(kMethods));
  const std::map<std::string_view, std::function<bool(const std::string&)>> words = {
      {"--seed", [&](const auto& text) { return Number(text, options.seed); }},
      {"--kinds", [&](const auto& text) { return Kinds(text, options.kinds); }},
      {"--method", [&](const auto& text) { return Word(text, methods, options.method); }},
      {"--journal",
       [&](const auto& text) {
         return Word(text, {"wal", "delete", "truncate", "persist"}, options.journal);
       }},
      {"--copies",
       [&](const auto& text) {
         return Word(text, {"random", "exact", "whole"}, options.copies);
       }},
      {"--dir", [&](const auto& text) { return options.folder = text, true; }}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (const auto flag = flags.find(name); flag != flags.end()) {
      *flag->second = true;
      continue;
    }
    if (++i == argc || *argv[i] == '\0') return std::nullopt;
    const std::string value = argv[i];
    const auto number = numbers.find(name);
    const auto word = words.find(name);
    const bool good = number != numbers.end() ? Number(value, *number->second)
                      : word != words.end()   ? word->second(value)
                                              : false;
    if (!good) return std::nullopt;
  }
  if (options.accounts < 2 || options.barriers < 1) return std::nullopt;
  return options;
}

}  // namespace lockscope::torture
