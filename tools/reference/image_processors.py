"""tests/fixtures/processors/image: what the picture processors of transformers and mlx-vlm give.

Outputs are large, so cases.json holds their sums, and samples.safetensors every stride-th value.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from mlx_vlm.models.qwen3_vl.processing_qwen3_vl import Qwen3VLImageProcessor
from PIL import Image
from safetensors.numpy import save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import (
    MllamaImageProcessorPil,
    get_all_supported_aspect_ratios,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from pictures import formula
from rows import made_with, write_rows

CLIP_STATISTICS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
SIZES = [(1, 1), (57, 33), (336, 336), (640, 480), (1021, 767), (90, 700), (170, 8)]
SAMPLES = 250

CLIP = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "do_center_crop": True,
    "do_rescale": True,
    "do_normalize": True,
    "resample": 3,
    **CLIP_STATISTICS,
}
IDEFICS3 = {
    "image_processor_type": "Idefics3ImageProcessor",
    "do_resize": True,
    "do_image_splitting": True,
    "do_rescale": True,
    "do_normalize": True,
    "resample": 1,
    "size": {"longest_edge": 200},
    "max_image_size": {"longest_edge": 52},
    **HALF,
}
GEMMA3 = {
    "image_processor_type": "Gemma3ImageProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "resample": 2,
    "size": {"height": 56, "width": 56},
    **HALF,
}
MLLAMA = {
    "image_processor_type": "MllamaImageProcessor",
    "do_resize": True,
    "do_pad": True,
    "do_rescale": True,
    "do_normalize": True,
    "resample": 2,
    "max_image_tiles": 4,
    "size": {"height": 140, "width": 140},
    **CLIP_STATISTICS,
}
PROCESSORS = {
    "gemma3": (Gemma3ImageProcessorPil, GEMMA3, SIZES[:4]),
    "gemma3_pieces": (
        Gemma3ImageProcessorPil,
        {
            **GEMMA3,
            "do_pan_and_scan": True,
            "pan_and_scan_min_crop_size": 80,
            "pan_and_scan_max_num_crops": 4,
            "pan_and_scan_min_ratio_to_activate": 1.2,
        },
        SIZES,
    ),
    "idefics3": (Idefics3ImageProcessorPil, IDEFICS3, SIZES),
    "idefics3_whole": (
        Idefics3ImageProcessorPil,
        {**IDEFICS3, "do_image_splitting": False, "resample": 3},
        SIZES[1:2],
    ),
    "idefics3_as_they_come": (
        Idefics3ImageProcessorPil,
        {**IDEFICS3, "do_resize": False},
        SIZES[1:2],
    ),
    "mllama": (MllamaImageProcessorPil, MLLAMA, [*SIZES, (140, 140), (280, 140), (100, 400)]),
    "mllama_nine": (
        MllamaImageProcessorPil,
        {**MLLAMA, "max_image_tiles": 9, "resample": 3, "size": {"height": 56, "width": 56}},
        [*SIZES[1:], (57, 57), (168, 167), (3, 300)],
    ),
    "clip_336": (
        CLIPImageProcessorPil,
        {**CLIP, "size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
        SIZES,
    ),
    "clip_old_spelling": (
        CLIPImageProcessorPil,
        {**CLIP, "size": 224, "crop_size": 224},
        SIZES[1:3],
    ),
    "clip_crop_pads": (
        CLIPImageProcessorPil,
        {**CLIP, "size": {"shortest_edge": 40}, "crop_size": {"height": 64, "width": 61}},
        SIZES[1:3],
    ),
    "clip_no_normalize": (
        CLIPImageProcessorPil,
        {
            **CLIP,
            "size": {"shortest_edge": 32},
            "crop_size": {"height": 32, "width": 32},
            "do_normalize": False,
            "resample": 2,
        },
        SIZES[1:2],
    ),
    "siglip_384": (
        SiglipImageProcessorPil,
        {
            "image_processor_type": "SiglipImageProcessor",
            "do_resize": True,
            "do_rescale": True,
            "do_normalize": True,
            "resample": 3,
            "size": {"height": 384, "width": 384},
            **HALF,
        },
        SIZES,
    ),
    "qwen2_vl": (
        Qwen2VLImageProcessorPil,
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "min_pixels": 3136,
            "max_pixels": 200704,
            **CLIP_STATISTICS,
        },
        SIZES,
    ),
    "qwen2_vl_size_keys": (
        Qwen2VLImageProcessorPil,
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "size": {"shortest_edge": 50176, "longest_edge": 100352},
            **HALF,
        },
        SIZES[1:4],
    ),
}


def agree_with_mlx_vlm(config, picture, output):
    """mlx-vlm brings its own qwen2_vl processor: the two must give the same."""
    size = config.get("size", {})
    keywords = {
        "min_pixels": size.get("shortest_edge"),
        "max_pixels": size.get("longest_edge"),
        **config,
    }
    own = Qwen3VLImageProcessor(**keywords)(images=[picture])
    np.testing.assert_array_equal(own["image_grid_thw"], output["image_grid_thw"])
    np.testing.assert_allclose(own["pixel_values"], output["pixel_values"], atol=3e-6)


def aspect_ratio(config, output):
    """Rows and columns of tiles, which the processor tells by a number and by a mask."""
    number = int(output["aspect_ratio_ids"][0, 0]) - 1
    tiles = get_all_supported_aspect_ratios(config["max_image_tiles"])[number]
    assert output["aspect_ratio_mask"][0, 0].sum() == tiles[0] * tiles[1]
    assert output["num_tiles"] == [[tiles[0] * tiles[1]]]
    return list(tiles)


def main(root):
    folder = Path(root) / "processors" / "image"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases, samples = [], {}
    for name, (kind, config, sizes) in PROCESSORS.items():
        for width, height in sizes:
            picture = Image.fromarray(formula(width, height))
            output = kind(**config)(images=[picture], return_tensors="np")
            if "patch_size" in config:
                agree_with_mlx_vlm(config, picture, output)
            values = np.asarray(output["pixel_values"])
            values = values[0] if values.ndim == 5 else values
            if "max_image_tiles" in config:
                tiles = aspect_ratio(config, output)
                assert not values[0, 0, tiles[0] * tiles[1] :].any()
                values = values[0, 0, : tiles[0] * tiles[1]]
            stride = max(values.size // SAMPLES, 1) | 1
            key = f"{name}_{width}x{height}"
            samples[key] = values.reshape(-1)[::stride].astype(np.float32).copy()
            exact = values.astype(np.float64)
            cases.append(
                {
                    "name": key,
                    "processor": name,
                    "width": width,
                    "height": height,
                    "shape": list(values.shape),
                    "stride": stride,
                    "sum": float(exact.sum()),
                    "sum_of_squares": float((exact**2).sum()),
                    **(
                        {"image_grid_thw": np.asarray(output["image_grid_thw"]).tolist()}
                        if "image_grid_thw" in output
                        else {}
                    ),
                    **({"aspect_ratio": tiles} if "max_image_tiles" in config else {}),
                }
            )
    save_file(samples, folder / "samples.safetensors")
    write_rows(
        folder / "cases.json",
        {
            "made_with": made_with("transformers", "mlx-vlm", "pillow", "numpy"),
            "picture": formula.__doc__,
            "tolerance": 2e-6,
            "processors": {name: config for name, (_, config, _) in PROCESSORS.items()},
            "cases": cases,
        },
    )
    print(f"{len(cases)} processed pictures")


if __name__ == "__main__":
    main(sys.argv[1])
