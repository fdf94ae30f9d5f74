"""video_inputs.py CHECKPOINT FPS OUT.npz CLIP...: what mlx-vlm makes of clips before any model sees them,
for scripts in an environment that has another library's models."""

import sys

import numpy as np
from mlx_vlm.generate.dispatch import _prepare_generation_inputs
from mlx_vlm.utils import load, load_video

from parity_cases import plain


def main(checkpoint, fps, out, *clips):
    model, processor = load(checkpoint, processor_config={"trust_remote_code": False})
    prompt = "<|vision_start|><|video_pad|><|vision_end|>" * len(clips)
    inputs = _prepare_generation_inputs(
        model, processor, prompt, None, None, list(clips), {"fps": float(fps)}
    )
    metadata = [load_video(clip, fps=float(fps))[1] for clip in clips]
    np.savez(
        out,
        pixel_values=plain(inputs[3]["pixel_values_videos"]),
        grid=plain(inputs[3]["video_grid_thw"]),
        totals=[found.total_num_frames for found in metadata],
        rates=[found.fps for found in metadata],
        taken=[len(found.frames_indices) for found in metadata],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
