#include <nlohmann/json.hpp>

#include "insight/table.h"

namespace lockscope::insight {
namespace {

using Json = nlohmann::ordered_json;

Json ToJsonValue(const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return nullptr;
}

}  // namespace

std::string ToJson(const Table& table, const Rows& rows, int indent) {
  Json array = Json::array();
  for (const Row& row : rows) {
    Json object = Json::object();
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      object[table.columns[i].name] = ToJsonValue(row.at(i));
    }
    array.push_back(std::move(object));
  }
  return array.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string JsonStrings(const std::vector<std::string>& strings) {
  return Json(strings).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lockscope::insight
