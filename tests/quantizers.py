"""The laws by which `vsr.media.quantizer` estimates what HEVC's and AV1's decoders do not tell, fitted to clips, and
how far they are off on those that measure:

    python tests/quantizers.py --data DIR
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from compression import CLIPS, FIRST, LEAST, Coding, compress, read, x265

from vsr.frame import Frame
from vsr.media.decode import Decoder
from vsr.training import compressed

FRAMES, FROM = 48, 12  # of a clip; from which on the means have settled
MOST = 720  # pixels a row: larger ones are taken halved only
FITTED = (*compressed.CLIPS, "streamio-ffmpeg/sideways movie.mov", "streamio-ffmpeg/awesome movie.mov",
          "androidx-media/sample_with_increasing_timestamps_320w_240h_fragmented.mp4", "imageio/realshort.mp4",
          "mediainfo.js/freeMXF-mxf1.mxf", "moviepy/video_with_failing_audio.mp4")
CODINGS = {
    "hevc": [*(Coding("libx265", {"crf": str(crf), **x265("fast")}, None, "hevc") for crf in (18, 23, 28, 33)),
             *(Coding("libx265", x265("medium"), bpp, "hevc") for bpp in (0.03, 0.1))],
    "av1": [*(Coding("libsvtav1", {"crf": str(crf), "preset": "8", "svtav1-params": "lp=1"}, None, "av1")
              for crf in (20, 30, 40, 50)),
            *(Coding("libsvtav1", {"preset": "8", "svtav1-params": "lp=1"}, bpp, "av1") for bpp in (0.03, 0.1))],
}


def evidence(data: Path, clips: Iterator[tuple[str, bool]], codec: str) -> tuple[np.ndarray, np.ndarray]:
    """What is known of each clip in each coding (N, 5), and the encoder's mean QP (N,), as H.264's."""
    known, wanted = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mkv"
        for clip, halved in clips:
            lumas = read(data / "video" / clip, halved, FIRST, FRAMES, 2)
            if len(lumas) < FRAMES // 2 or min(lumas[0].shape) < LEAST or lumas[0].shape[1] > MOST:
                continue
            for coding in CODINGS[codec]:
                wanted.append(compress(lumas, coding, path) or 0.0)
                with Decoder(path) as source:
                    found = [source._quantizers.evidence() for item in source if isinstance(item, Frame)]
                known.append(np.mean(found[FROM:], 0))
    return np.array(known), np.array(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds video/")
    data = parser.parse_args().data
    for codec in CODINGS:
        known, wanted = evidence(data, itertools.product(FITTED, (True, False)), codec)
        law = np.linalg.lstsq(known, wanted, rcond=None)[0]
        others, truth = evidence(data, iter(CLIPS.values()), codec)
        for what, error in (("fitted to", known @ law - wanted), ("others", others @ law - truth)):
            print(f"{codec} ({', '.join(f'{number:.2f}' for number in law)})  {what}: {len(error)} clips, "
                  f"mean {error.mean():+.1f}, root mean square {np.sqrt(np.mean(error**2)):.1f}")


if __name__ == "__main__":
    main()
