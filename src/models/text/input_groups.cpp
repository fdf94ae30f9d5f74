// What may be scaled in a decoder, as its config tells: norm -> queries, keys and values; values ->
// output; norm -> gate and up; up -> down; norm -> head. Source: arXiv:2306.00978, section 3.2.
#include "models/text/decoder.h"

namespace fovea::models::text {
namespace {

InputGroup behind_norm(const std::string& norm, float offset, std::vector<std::string> products) {
  InputGroup group;
  group.products = std::move(products);
  group.source_path = norm;
  group.norm_offset = offset;
  return group;
}

// What rows [first, first + rows) of a linear layer make is all that `product` is given.
InputGroup behind_rows(const std::string& source, int first, int rows, const std::string& product) {
  InputGroup group;
  group.products = {product};
  group.source = InputGroup::Source::kLinear;
  group.source_path = source;
  group.first_row = first;
  group.rows = group.run = rows;
  return group;
}

void add_attention(const DecoderConfig& c, const std::string& layer,
                   std::vector<InputGroup>& groups) {
  const std::string path = layer + "self_attn.";
  const auto& a = c.attention;
  const int queries = a.num_attention_heads * a.head_dim;
  const int keys = a.num_key_value_heads * a.head_dim;
  const auto norm = [&](std::vector<std::string> products) {
    groups.push_back(behind_norm(layer + "input_layernorm", c.norm_offset, std::move(products)));
  };
  if (a.fused_qkv) {
    norm({path + "qkv_proj"});
  } else {
    norm({path + "q_proj", path + "k_proj", path + "v_proj"});
  }
  auto values = a.fused_qkv ? behind_rows(path + "qkv_proj", queries + keys, keys, path + "o_proj")
                            : behind_rows(path + "v_proj", 0, keys, path + "o_proj");
  values.run = a.head_dim;
  values.repeats = a.num_attention_heads / a.num_key_value_heads;
  groups.push_back(std::move(values));
}

void add_mlp(const DecoderConfig& c, const std::string& layer, std::vector<InputGroup>& groups) {
  const std::string path = layer + "mlp.";
  const std::string norm =
      layer + (c.sandwich_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm");
  const int width = c.intermediate_size;
  if (c.fused_mlp) {
    groups.push_back(behind_norm(norm, c.norm_offset, {path + "gate_up_proj"}));
    groups.push_back(behind_rows(path + "gate_up_proj", width, width, path + "down_proj"));
  } else {
    groups.push_back(behind_norm(norm, c.norm_offset, {path + "gate_proj", path + "up_proj"}));
    groups.push_back(behind_rows(path + "up_proj", 0, width, path + "down_proj"));
  }
}

}  // namespace

std::vector<InputGroup> Decoder::input_groups() const {
  const std::string body = config_.body.empty() ? "" : config_.body + ".";
  std::vector<InputGroup> groups;
  for (int i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("{}layers.{}.", body, i);
    // Layers that look at media states scale their MLP only.
    const bool looks = !config_.across.empty() && config_.across[static_cast<size_t>(i)];
    if (!looks) add_attention(config_, layer, groups);
    const bool experts = !config_.sparse.empty() && config_.sparse[static_cast<size_t>(i)];
    if (!experts) add_mlp(config_, layer, groups);
  }
  if (lm_head_) groups.push_back(behind_norm(body + "norm", config_.norm_offset, {"lm_head"}));
  return groups;
}

}  // namespace fovea::models::text
