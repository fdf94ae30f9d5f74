// Phi-3-Vision and Phi-3.5-Vision: CLIP-L on tiles of a large picture and on a small view of it,
// 2 x 2 neighbours merged, a learned vector at the end of every row and between the two, a
// two-layer GELU projector, a phi3 decoder with longrope. Sources: arXiv:2404.14219 and Microsoft's
// modeling_phi3_v of the checkpoints. mlx-vlm lays tiles of several columns out in the wrong order;
// ours is Microsoft's.
//
// Legend: D hidden size, C merged width (four times the tower's).
#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/decoder_model.h"
#include "models/families.h"
#include "models/vision/patches.h"
#include "models/vision/vit.h"

namespace fovea::models {
namespace {

// What Hugging Face's Phi3Config says where config.json is silent (text/decoder.h).
constexpr text::DecoderType kDecoder = {
    .model_type = "phi3_v",
    .qkv_bias = false,
    .sliding = text::Sliding::kEveryLayer,
    .vocab_size = 32064,
    .hidden_size = 3072,
    .intermediate_size = 8192,
    .num_hidden_layers = 32,
    .num_attention_heads = 32,
    .num_key_value_heads = 0,
    .max_position_embeddings = 4096,
    .rms_norm_eps = 1e-5f,
    .rope_theta = 1e4,
    .sliding_window = 0,
    .max_window_layers = 0,
    .fused_projections = true,
};

const std::string kVision = "model.vision_embed_tokens.";

// Released configs have no vision_config; where one says sizes, they hold.
vision::VitConfig tower_config(const Json& config) {
  return vision::read_vit_config(config.optional_object("vision_config"), vision::clip_large_336());
}

// Which of the two kinds of features comes first.
bool tiles_come_first(const Json& config) {
  const std::string order = config["embd_layer"].get_string("hd_transform_order", "sub_glb");
  if (order != "sub_glb" && order != "glb_sub") {
    fail(ErrorKind::kUnsupported,
         "[config.json] expected sub_glb or glb_sub at 'embd_layer.hd_transform_order' but got "
         "'{}'",
         order);
  }
  return order == "sub_glb";
}

class Phi3V : public DecoderModel {
 public:
  explicit Phi3V(const Checkpoint& checkpoint)
      : DecoderModel(checkpoint, phi3_v_decoder_config(checkpoint)),
        tower_(tower_config(checkpoint.config)),
        width_(product_size(checkpoint.config, "merged patches", {4, tower_.config().hidden_size})),
        side_(tower_.config().image_size / tower_.config().patch_size / 2),
        tiles_first_(tiles_come_first(checkpoint.config)),
        glb_GN_(mx::zeros({1, 1, width_})),
        sub_GN_(mx::zeros({1, 1, 1, width_})),
        projection_(width_, decoder_.config().hidden_size, decoder_.config().hidden_size,
                    kernels::Gelu::kExact, nn::Linear::Bias::kPresent, "0", "2") {
    if (tower_.config().num_hidden_layers < 2 || side_ < 1) {
      fail(ErrorKind::kInvalidData,
           "[config.json] expected a vision_config of two layers and 2 x 2 patches at least");
    }
  }

  // span.pixels has the small view, then span.tiles row by row.
  mx::array encode_media(const MediaSpan& span) const override {
    const auto [rows, columns] = span.tiles;
    if (span.pixels.shape.empty() || span.pixels.shape[0] != 1 + rows * columns) {
      fail(ErrorKind::kInvalidData, "[vision] expected a view and {} x {} tiles but got pixels {}",
           rows, columns, span.pixels.shape);
    }
    const auto merged =
        merge(tower_.forward(span.pixels, {tower_.config().num_hidden_layers - 1})[0],
              span.pixels.shape[0]);
    const auto part = [&](int from, int to) {
      return mx::slice(merged, {from, 0, 0, 0}, {to, side_, side_, width_});
    };
    const auto view = lines(part(0, 1), 1, 1);
    const auto tiles = lines(part(1, 1 + rows * columns), rows, columns);
    const auto between = mx::reshape(mx::astype(glb_GN_, mx::float32), {1, width_});
    return projection_(
        mx::concatenate({tiles_first_ ? tiles : view, between, tiles_first_ ? view : tiles}, 0));
  }

  void visit(nn::Visitor& visitor) override {
    visitor.child(kVision + "img_processor.vision_model", tower_);
    visitor.parameter(kVision + "glb_GN", glb_GN_);
    visitor.parameter(kVision + "sub_GN", sub_GN_);
    visitor.child(kVision + "img_projection", projection_);
    decoder_.visit(visitor);
  }

  bool is_media_weight(const std::string& name) const override { return name.starts_with(kVision); }

 protected:
  WeightNames weight_names() const override {
    return {[](const std::string& name) { return name; }, "",
            kVision + "img_processor.vision_model.embeddings.patch_embedding",
            tower_.config().num_channels};
  }

 private:
  // Rows of `count` pictures without their class rows, 2 x 2 neighbours side by side:
  // [count, side, side, C].
  mx::array merge(const mx::array& states, int count) const {
    const int e = tower_.config().hidden_size;
    const int patches = tower_.config().image_size / tower_.config().patch_size;
    const auto rows = mx::reshape(states, {count, tower_.rows_per_picture(), e});
    const auto grid =
        mx::reshape(mx::slice(rows, {0, 1, 0}, rows.shape()), {count, patches, patches, e});
    return vision::merge_neighbours(grid, 2);
  }

  // Tiles in their places, each line with sub_GN behind it: [rows * side * (columns * side + 1),
  // C].
  mx::array lines(const mx::array& tiles, int rows, int columns) const {
    const auto grid = mx::reshape(tiles, {rows, columns, side_, side_, width_});
    const auto canvas =
        mx::reshape(mx::transpose(grid, {0, 2, 1, 3, 4}), {rows * side_, columns * side_, width_});
    const auto ends = mx::broadcast_to(
        mx::reshape(mx::astype(sub_GN_, mx::float32), {1, 1, width_}), {rows * side_, 1, width_});
    return mx::reshape(mx::concatenate({canvas, ends}, 1), {-1, width_});
  }

  vision::Vit tower_;
  int width_;
  int side_;  // of a tile, in merged patches
  bool tiles_first_;
  mx::array glb_GN_;  // the checkpoints' spelling
  mx::array sub_GN_;
  nn::GeluMlp projection_;
};

}  // namespace

text::DecoderConfig phi3_v_decoder_config(const Checkpoint& checkpoint) {
  return text::read_decoder_config(checkpoint.config, kDecoder);
}

std::unique_ptr<Model> make_phi3_v(const Checkpoint& checkpoint) {
  return std::make_unique<Phi3V>(checkpoint);
}

}  // namespace fovea::models
