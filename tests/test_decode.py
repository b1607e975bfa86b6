"""What the decoder makes of odd and rich sources: alpha, fields, changes midway, image sequences, HDR."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from vsr.media.probe import probe

# ---- HDR ---------------------------------------------------------------------------------------------------------


def test_hdr_metadata_is_read_exactly(data: Path) -> None:
    video = probe(data / "video/androidx-media/sample_with_colr_mdcv_and_clli.mp4").video
    assert video is not None and video.light == (1100, 180) and video.mastering is not None
    red, green, blue = video.mastering.primaries or ()
    assert red == (Fraction(33899, 50000), Fraction(16099, 50000))
    assert green == (Fraction(49, 200), Fraction(703, 1000)) and blue == (Fraction(6899, 50000), Fraction(13, 250))
    assert video.mastering.white_point == (Fraction(7817, 25000), Fraction(16449, 50000))
    assert video.mastering.luminance == (0, 1000)


def test_hdr_metadata_that_makes_no_sense_is_left_out(data: Path) -> None:
    info = probe(data / "video/androidx-media/hdr10-video-with-sdr-container.mp4").to_json()["video"]
    assert info["content_light_level"] == {"max_cll": 1000, "max_fall": 200}
    assert info["mastering_display"]["white_point"] == ["3127/10000", "329/1000"]
    assert info["mastering_display"]["luminance"] is None  # a greatest of 0.1 cd/m² in the stream
