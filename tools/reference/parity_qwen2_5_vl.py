"""tests/fixtures/parity/qwen2_5_vl"""

import sys
from pathlib import Path

import parity_qwen2_vl
from case_files import ONE, Case, usual_cases
from parity_cases import write_family
from parity_qwen2_vl import PATCH, to_hf_name
from tiny_tokenizers import byte_level_bpe

SEED = 27


def sidecars(tokenizer):
    """Those of parity_qwen2_vl with the newer tower: the first block's windows are of 2 x 2 units."""
    config, files = parity_qwen2_vl.sidecars(tokenizer)
    config |= {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "depth": 2,
            "hidden_act": "silu",
            "hidden_size": 16,
            "intermediate_size": 28,
            "num_heads": 2,
            "in_chans": 3,
            "out_hidden_size": 32,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "spatial_patch_size": PATCH,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1],
        },
    }
    files["preprocessor_config.json"] |= {
        "min_pixels": 256,
        "max_pixels": 640,
        "processor_class": "Qwen2_5_VLProcessor",
    }
    return config, files


def main(root):
    config, files = sidecars(byte_level_bpe(288))
    cases = {**usual_cases("hf-f32"), "one_picture_4bit": Case("mlx-4bit", pictures=ONE)}
    folder = Path(root) / "parity" / "qwen2_5_vl"
    write_family(folder, config, files, to_hf_name, cases, SEED)


if __name__ == "__main__":
    main(sys.argv[1])
