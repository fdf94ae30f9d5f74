// Mistral Small 3.1 and 3.2, Ministral 3: Pixtral whose patches are normalised and merged with
// their neighbours before the projector. Sources: Hugging Face modeling_mistral3,
// modeling_ministral3, mlx_vlm/models/mistral3.
//
// Legend: E tower width, m patches merged on each side.
#include "base/error.h"
#include "mlx/ops.h"
#include "models/config.h"
#include "models/families.h"
#include "models/pixtral_model.h"

namespace fovea::models {
namespace {

constexpr int kMergeMax = 16;  // far beyond any

class Mistral3 : public PixtralModel {
 public:
  explicit Mistral3(const Checkpoint& checkpoint)
      : PixtralModel(checkpoint, {.feature_layer = -1, .projector_bias = false}),
        merge_(optional_size(checkpoint.config, "spatial_merge_size", 2, kMergeMax)),
        norm_(tower_.config().hidden_size, decoder_.config().rms_norm_eps),
        merging_layer_(product_size(checkpoint.config, "merged patches",
                                    {tower_.config().hidden_size, merge_, merge_}),
                       tower_.config().hidden_size, nn::Linear::Bias::kNone) {
    if (layers_.size() != 1) {
      fail(ErrorKind::kUnsupported,
           "[config.json] expected one layer at 'vision_feature_layer' but got {}", layers_.size());
    }
  }

  mx::array encode_media(const MediaSpan& span) const override {
    const auto [frames, rows, columns] = span.grid_thw;
    if (rows % merge_ != 0 || columns % merge_ != 0) {
      fail(ErrorKind::kInvalidData,
           "[vision] expected a grid in blocks of {} x {} patches but got {} x {}", merge_, merge_,
           rows, columns);
    }
    const int e = tower_.config().hidden_size;
    const auto blocks =
        mx::reshape(norm_(features(span)), {rows / merge_, merge_, columns / merge_, merge_, e});
    // A block's values stand channel by channel.
    const auto merged = mx::reshape(mx::transpose(blocks, {0, 2, 4, 1, 3}),
                                    {rows / merge_ * (columns / merge_), e * merge_ * merge_});
    return projector_(merging_layer_(merged));
  }

  MlxLayout mlx_layout() const override { return {.plain_head = "language_model.lm_head"}; }

  void visit(nn::Visitor& visitor) override {
    PixtralModel::visit(visitor);
    visitor.child("multi_modal_projector.norm", norm_);
    visitor.child("multi_modal_projector.patch_merger.merging_layer", merging_layer_);
  }

 private:
  int merge_;
  nn::RmsNorm norm_;
  nn::Linear merging_layer_;
};

}  // namespace

std::unique_ptr<Model> make_mistral3(const Checkpoint& checkpoint) {
  return std::make_unique<Mistral3>(checkpoint);
}

}  // namespace fovea::models
