"""clip_frames.py CLIP OUT.npy: every frame of a clip as OpenCV gives it, [count, height, width, 3] in RGB,
for scripts in an environment without OpenCV."""

import sys

import cv2
import numpy as np


def main(clip, out):
    capture = cv2.VideoCapture(clip)
    frames = []
    while True:
        more, frame = capture.read()
        if not more:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    np.save(out, np.stack(frames))


if __name__ == "__main__":
    main(*sys.argv[1:])
