"""tests/fixtures/processors/video: which frames mlx-vlm takes of a clip, by its number of frames and
their rate. OpenCV is replaced by a clip that has nothing but these."""

import random
import sys
import types
from pathlib import Path

import numpy as np

from rows import made_with, write_rows


class Clip:
    def __init__(self, total, fps):
        self.values = {1: total, 2: fps, 3: 8, 4: 8}

    def isOpened(self):
        return True

    def get(self, name):
        return self.values[name]

    def set(self, name, value):
        pass

    def read(self):
        return True, np.zeros((8, 8, 3), np.uint8)

    def release(self):
        pass


def chosen(total, fps, sampling):
    sys.modules["cv2"] = types.SimpleNamespace(
        VideoCapture=lambda _: Clip(total, fps),
        CAP_PROP_FRAME_COUNT=1,
        CAP_PROP_FPS=2,
        CAP_PROP_FRAME_WIDTH=3,
        CAP_PROP_FRAME_HEIGHT=4,
        CAP_PROP_POS_FRAMES=5,
        COLOR_BGR2RGB=0,
        cvtColor=lambda frame, _: frame,
    )
    from mlx_vlm.utils import VideoSampling, load_video

    try:
        _, metadata = load_video("clip", VideoSampling(**sampling))
    except ValueError:
        return None
    return metadata


def samplings():
    yield {}
    for fps in (0.25, 1, 2, 3, 29.97):
        yield {"fps": fps}
    for count in (2, 5, 7, 8, 16):
        yield {"nframes": count}
    yield {"fps": 4, "min_frames": 7, "max_frames": 9}
    yield {"fps": 0.1, "min_frames": 2}
    yield {"fps": 30, "max_frames": 31}


def main(root):
    rng = random.Random(6)
    cases = []
    clips = [(2, 1.0), (3, 10.0), (4, 25.0), (75, 25.0), (90, 29.97002997), (1800, 30.0), (15000, 25.0)]
    clips += [(rng.randint(2, 4000), round(rng.uniform(1, 60), 3)) for _ in range(8)]
    for total, fps in clips:
        for sampling in samplings():
            found = chosen(total, fps, sampling)
            frames = None if found is None else [int(i) for i in found.frames_indices]
            case = {"total": total, "fps": fps, "sampling": sampling}
            if frames and len(frames) > 64:
                case |= {"count": len(frames), "sum": sum(frames), "frames": frames[:32]}
            else:
                case["frames"] = frames
            if found is not None:
                case["sampled_fps"] = found.sampled_fps
            cases.append(case)
    folder = Path(root) / "processors" / "video"
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "frame_choice.json", {"made_with": made_with("mlx-vlm"), "cases": cases})
    print(f"{len(cases)} choices of frames, {sum(c['frames'] is None for c in cases)} refused")


if __name__ == "__main__":
    main(sys.argv[1])
