"""tests/fixtures/parity/qwen3_vl_moe"""

import sys
from pathlib import Path

import mlx.nn as nn
import numpy as np
from mlx_vlm.models.qwen3_vl_moe import vision

import parity_qwen3_vl
from parity_cases import write_family
from parity_qwen3_vl import cases, to_hf_name
from tiny_tokenizers import byte_level_bpe

SEED = 53


def with_activation(kind, activation):
    """mlx-vlm has the tower's two GELUs the wrong way round in this package: Hugging Face's, and its
    own qwen3_vl, have tanh in the blocks and the exact one in the mergers."""
    original = kind.__init__

    def made(self, *args, **keywords):
        original(self, *args, **keywords)
        self.act_fn = activation

    kind.__init__ = made


with_activation(vision.MLP, nn.GELU(approx="tanh"))
with_activation(vision.PatchMerger, nn.GELU())


def sidecars(tokenizer):
    """Those of parity_qwen3_vl with experts in the second layer."""
    config, files = parity_qwen3_vl.sidecars(tokenizer)
    config["architectures"] = ["Qwen3VLMoeForConditionalGeneration"]
    config["model_type"] = "qwen3_vl_moe"
    config["tie_word_embeddings"] = False
    config["vision_config"] |= {"model_type": "qwen3_vl_moe", "deepstack_visual_indexes": [0]}
    config["vision_config"] |= {"hidden_size": 8, "num_heads": 1}
    config["text_config"] |= {
        "model_type": "qwen3_vl_moe_text",
        "tie_word_embeddings": False,
        "head_dim": 16,
        "intermediate_size": 32,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [4, 2, 2],
            "rope_type": "default",
        },
        "decoder_sparse_step": 1,
        "mlp_only_layers": [0],
        "moe_intermediate_size": 32,
        "norm_topk_prob": True,
        "num_experts": 4,
        "num_experts_per_tok": 2,
    }
    return config, files


def fused(tensors):
    """Experts as released: gate and up in one tensor, inputs before outputs."""
    for name in sorted(tensors):
        if not name.endswith("switch_mlp.gate_proj.weight"):
            continue
        path = name.removesuffix("switch_mlp.gate_proj.weight")
        gate = tensors.pop(name)
        up = tensors.pop(f"{path}switch_mlp.up_proj.weight")
        down = tensors.pop(f"{path}switch_mlp.down_proj.weight")
        tensors[f"{path}experts.gate_up_proj"] = np.concatenate([gate, up], -1)
        tensors[f"{path}experts.down_proj"] = down
    return tensors


def main(root):
    config, files = sidecars(byte_level_bpe(288))
    folder = Path(root) / "parity" / "qwen3_vl_moe"
    write_family(folder, config, files, to_hf_name, cases(), SEED, fused)


if __name__ == "__main__":
    main(sys.argv[1])
