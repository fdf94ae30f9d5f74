"""Vision towers as llama.cpp's multimodal projector files, all matrices in F16."""
import json

import numpy as np

from gguf_stream import Stream

CLIP_BLOCK = {"layer_norm1": "ln1", "layer_norm2": "ln2", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.out_proj": "attn_out", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down"}
QWEN_BLOCK = {"norm1": "ln1", "norm2": "ln2", "attn.proj": "attn_out", "mlp.fc1": "ffn_up",
              "mlp.fc2": "ffn_down"}


class Tower:
    def __init__(self, path, folder, weights):
        self.weights = weights
        self.vision = weights.config["vision_config"]
        self.pictures = json.loads((folder / "preprocessor_config.json").read_text())
        self.stream = Stream(path, "clip")

    def settings(self, projector, numbers):
        w = self.stream.writer
        w.add_bool("clip.has_vision_encoder", True)
        w.add_string("clip.projector_type", projector)
        for key, value in numbers.items():
            w.add_uint32(f"clip.vision.{key}", value)
        w.add_float32("clip.vision.attention.layer_norm_epsilon",
                      self.vision.get("layer_norm_eps", 1e-6))
        w.add_array("clip.vision.image_mean", self.pictures["image_mean"])
        w.add_array("clip.vision.image_std", self.pictures["image_std"])

    def both(self, theirs, ours):
        """Weight and bias; norms and biases in F32."""
        if f"{ours}.weight" in self.weights:
            flat = self.weights.stored(f"{ours}.weight").ndim == 1
            read = self.weights.plain if flat else self.weights.rows
            name = f"{ours}.weight" if flat else ours
            self.stream.add(f"{theirs}.weight", "f32" if flat else "f16", lambda: read(name))
        if f"{ours}.bias" in self.weights:
            self.stream.add(f"{theirs}.bias", "f32", lambda: self.weights.plain(f"{ours}.bias"))


def write_tower(path, folder, weights):
    tower = Tower(path, folder, weights)
    {"qwen2_vl": add_qwen2_vl, "idefics3": add_idefics3}.get(
        weights.config["model_type"], add_llava)(tower)
    tower.stream.write()


def add_qwen2_vl(tower):
    v = tower.vision
    tower.settings("qwen2vl_merger", {
        "image_size": 560, "patch_size": v["patch_size"], "embedding_length": v["embed_dim"],
        "feed_forward_length": v["embed_dim"] * v["mlp_ratio"], "projection_dim": v["hidden_size"],
        "block_count": v["depth"], "attention.head_count": v["num_heads"],
        "spatial_merge_size": v["spatial_merge_size"],
        "image_min_pixels": tower.pictures["min_pixels"],
        "image_max_pixels": tower.pictures["max_pixels"]})
    add, plain = tower.stream.add, tower.weights.plain
    # One weight for each of a patch's two frames, channels before rows and columns.
    for frame, name in enumerate(["v.patch_embd.weight", "v.patch_embd.weight.1"]):
        add(name, "f16", lambda f=frame: np.moveaxis(
            plain("vision_tower.patch_embed.proj.weight")[:, f], -1, 1))
    for layer in range(v["depth"]):
        ours, theirs = f"vision_tower.blocks.{layer}.", f"v.blk.{layer}."
        for name, other in QWEN_BLOCK.items():
            tower.both(theirs + other, ours + name)
        for part, other in enumerate(["attn_q", "attn_k", "attn_v"]):
            for kind in ["weight", "bias"]:
                add(f"{theirs}{other}.{kind}", "f16" if kind == "weight" else "f32",
                    lambda p=part, n=f"{ours}attn.qkv.{kind}": np.split(plain(n), 3)[p])
    tower.both("v.post_ln", "vision_tower.merger.ln_q")
    tower.both("mm.0", "vision_tower.merger.mlp.0")
    tower.both("mm.2", "vision_tower.merger.mlp.2")


def add_llava(tower):
    v, config = tower.vision, tower.weights.config
    last = config["vision_feature_layer"]
    layers = v["num_hidden_layers"] + 1 + last if last < 0 else last  # the others are not run
    tower.settings("mlp", {
        "image_size": v["image_size"], "patch_size": v["patch_size"],
        "embedding_length": v["hidden_size"], "feed_forward_length": v["intermediate_size"],
        "projection_dim": v.get("projection_dim", v["hidden_size"]), "block_count": layers,
        "attention.head_count": v["num_attention_heads"]})
    tower.stream.writer.add_bool("clip.use_gelu", v["hidden_act"] != "quick_gelu")
    tower.stream.writer.add_string("clip.vision.mm_patch_merge_type", "flat")
    add_vit(tower, "vision_tower.vision_model.", layers)
    tower.both("mm.0", "multi_modal_projector.linear_1")
    tower.both("mm.2", "multi_modal_projector.linear_2")


def add_idefics3(tower):
    v = tower.vision
    width, layers = v["hidden_size"], v.get("num_hidden_layers", 12)
    tower.settings("idefics3", {
        "image_size": v["image_size"], "patch_size": v["patch_size"], "embedding_length": width,
        "feed_forward_length": v.get("intermediate_size", 3072),
        "projection_dim": v.get("projection_dim", width), "block_count": layers,
        "attention.head_count": v["num_attention_heads"],
        "projector.scale_factor": tower.weights.config["scale_factor"],
        "preproc_image_size": tower.pictures["size"]["longest_edge"]})
    tower.stream.writer.add_bool("clip.use_gelu", True)
    add_vit(tower, "vision_model.", layers)
    tower.both("mm.model.fc", "connector.modality_projection.proj")


def add_vit(tower, prefix, layers):
    """CLIP's and SigLIP's blocks, with what stands before and after them."""
    add, plain = tower.stream.add, tower.weights.plain
    add("v.patch_embd.weight", "f16", lambda: np.moveaxis(
        plain(prefix + "embeddings.patch_embedding.weight"), -1, 1))
    if prefix + "embeddings.patch_embedding.bias" in tower.weights:
        add("v.patch_embd.bias", "f32", lambda: plain(prefix + "embeddings.patch_embedding.bias"))
    if prefix + "embeddings.class_embedding" in tower.weights:
        add("v.class_embd", "f32", lambda: plain(prefix + "embeddings.class_embedding"))
        tower.both("v.pre_ln", prefix + "pre_layrnorm")
    else:
        tower.both("v.post_ln", prefix + "post_layernorm")
    add("v.position_embd.weight", "f32",
        lambda: plain(prefix + "embeddings.position_embedding.weight"))
    for layer in range(layers):
        for name, other in CLIP_BLOCK.items():
            tower.both(f"v.blk.{layer}.{other}", f"{prefix}encoder.layers.{layer}.{name}")
