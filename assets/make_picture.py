"""Makes the picture of the README: one place of the sample, enlarged bicubically and by FSRCNN-s.

    python assets/make_picture.py       writes assets/comparison.png
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace

from vsr.engines import open_engine
from vsr.frame import Frame
from vsr.media.decode import Decoder
from vsr.media.pixels import EXACT, views
from vsr.upscale import Upscaler

ASSETS = Path(__file__).parent
SCALE, ZOOM, GAP = 3, 2, 8
FRAME, CROP = 5, (260, 128, 100, 92)  # x, y, width, height in the sample
LABELS = {"bicubic": "Bicubic", "fsrcnn-s": f"FSRCNN-s x{SCALE}"}


def rgb(frame: Frame) -> np.ndarray:
    """A 4:2:0 frame of BT.709 as (H, W, 3) uint8."""
    picture = av.VideoFrame(frame.width, frame.height, "yuv420p")
    for plane, values in zip(views(picture), frame.planes, strict=True):
        plane[...] = values
    return picture.reformat(format="rgb24", src_colorspace=Colorspace.ITU709, interpolation=EXACT).to_ndarray()


def panel(model: str) -> np.ndarray:
    """The crop as ``model`` enlarges it, with its label."""
    with Decoder(ASSETS / "sample.mp4") as source, open_engine(model, SCALE) as engine:
        size = source.info.width * SCALE, source.info.height * SCALE
        upscale = Upscaler(engine, source.layout.chroma, source.info.color.chroma_location, *size)
        frame = next(islice((item for item in source if isinstance(item, Frame)), FRAME, None))
        picture = rgb(upscale(frame))
    x, y, width, height = (side * SCALE for side in CROP)
    crop = cv2.resize(picture[y : y + height, x : x + width], None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.7
    (wide, high), _ = cv2.getTextSize(LABELS[model], font, size, 1)
    crop[: high + 22, : wide + 26] = 24
    return cv2.putText(crop, LABELS[model], (13, high + 11), font, size, (255, 255, 255), 1, cv2.LINE_AA)


def main() -> None:
    left, right = map(panel, LABELS)
    gap = np.full((len(left), GAP, 3), 255, np.uint8)
    done, png = cv2.imencode(".png", np.hstack([left, gap, right])[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    (ASSETS / "comparison.png").write_bytes(png.tobytes())


if __name__ == "__main__":
    main()
