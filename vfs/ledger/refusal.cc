#include "ledger/refusal.h"

#include <atomic>

namespace lockscope::ledger {
namespace {

constinit std::atomic<RefusalExplainer> g_explainer{nullptr};

}  // namespace

void SetRefusalExplainer(RefusalExplainer explainer) noexcept {
  g_explainer.store(explainer, std::memory_order_release);
}

RefusalExplainer CurrentRefusalExplainer() noexcept {
  return g_explainer.load(std::memory_order_acquire);
}

}  // namespace lockscope::ledger
