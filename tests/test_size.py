"""Output sizes: what can be asked for, and what a source becomes by it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vsr.errors import InputError, UsageError
from vsr.frame import Color, VideoInfo
from vsr.models.catalogue import SCALES
from vsr.size import BOXES, FACTORS, LONGEST, Resolution, Size, resolve

CLIP = Path("clip.mp4")


def video(width: int, height: int, aspect: Fraction | None = None, rotation: int = 0) -> VideoInfo:
    return VideoInfo(0, "h264", width, height, "yuv420p", Fraction(1, 25), None, None, None, None, aspect, rotation,
                     Color(), False)


def becomes(info: VideoInfo, flag: str, text: str) -> Resolution:
    return resolve(info, getattr(Size, f"parse_{flag}")(text), CLIP)


def of(resolution: Resolution) -> tuple[int, int, int]:
    return resolution.factor, resolution.width, resolution.height


# ---- What is asked for ----


def test_a_size_says_how_it_was_asked_for() -> None:
    assert str(Size.parse_size("1280x720")) == "--size 1280x720"
    assert str(Size.parse_height("720")) == "--height 720"
    assert str(Size.parse_fit("4K")) == "--fit 4K"
    assert Size.parse_size("1280X720") == replace(Size.parse_size("1280x720"), text="1280X720")


@pytest.mark.parametrize(("flag", "text"), [
    ("size", "12x"), ("size", "1280"), ("size", "x720"), ("size", "1280x720p"), ("size", "-1280x720"), ("size", ""),
    ("size", " 1280x720"), ("size", "1280x720\n"), ("size", "1_280x720"), ("size", "٣٢٠x٢٤٠"), ("size", "12.5x40"),
    ("size", "15x720"), ("size", "1280x15"), ("size", "16385x720"), ("size", "0x0"), ("size", "9" * 5000 + "x720"),
    ("height", "720p"), ("height", ""), ("height", "-720"), ("height", "0"), ("height", "16385"), ("height", "nan"),
    ("fit", "8k"), ("fit", "1080"), ("fit", ""), ("fit", "1920x1080"),
])
def test_what_cannot_be_meant_is_a_usage_error(flag: str, text: str) -> None:
    with pytest.raises(UsageError, match=rf"^--{flag} "):
        getattr(Size, f"parse_{flag}")(text)


def test_the_limits_themselves_are_allowed() -> None:
    assert Size.parse_size("16x16384") == Size("size", "16x16384", 16, 16384)
    assert Size.parse_fit("1440p").width == 2560


# ---- What becomes of a source ----


def test_a_factor_is_just_that() -> None:
    assert FACTORS == SCALES
    for factor in FACTORS:
        assert resolve(video(13, 9, Fraction(4, 3)), factor, CLIP) == Resolution(factor, 13 * factor, 9 * factor,
                                                                                  Fraction(4, 3))


@pytest.mark.parametrize(("source", "flag", "text", "factor", "size"), [
    ((640, 360), "size", "1280x720", 2, (1280, 720)),  # exactly twice: nothing is shrunk
    ((640, 360), "size", "641x361", 2, (641, 361)),
    ((640, 360), "size", "1282x720", 3, (1282, 720)),  # one side decides
    ((640, 360), "size", "1280x1081", 4, (1280, 1081)),
    ((640, 360), "size", "2560x1440", 4, (2560, 1440)),
    ((640, 360), "size", "640x480", 2, (640, 480)),  # equal in one direction
    ((640, 360), "height", "720", 2, (1280, 720)),
    ((854, 480), "height", "1080", 3, (1922, 1080)),  # 1921.5
    ((853, 480), "height", "720", 2, (1280, 720)),  # 1279.5
    ((640, 360), "height", "541", 2, (962, 541)),  # 961.8; what was asked for is not rounded
    ((640, 480), "fit", "720p", 2, (960, 720)),
    ((1280, 720), "fit", "1080p", 2, (1920, 1080)),
    ((1280, 720), "fit", "4k", 3, (3840, 2160)),
    ((720, 1280), "fit", "1080p", 2, (1080, 1920)),  # upright, and so is the box
    ((640, 480), "fit", "1080p", 3, (1440, 1080)),
    ((1280, 536), "fit", "1440p", 2, (2560, 1072)),
    ((480, 480), "fit", "1080p", 3, (1080, 1080)),
])
def test_the_smallest_factor_that_suffices(
    source: tuple[int, int], flag: str, text: str, factor: int, size: tuple[int, int]
) -> None:
    got = becomes(video(*source), flag, text)
    assert of(got) == (factor, *size) and got.warning is None


def test_another_shape_is_displayed_as_before() -> None:
    assert becomes(video(640, 480), "size", "1280x720").sample_aspect == Fraction(3, 4)
    assert becomes(video(720, 576, Fraction(16, 15)), "size", "1920x1080").sample_aspect == Fraction(3, 4)
    assert becomes(video(720, 576, Fraction(16, 15)), "size", "1440x1080").sample_aspect == 1  # squares now
    assert becomes(video(640, 360), "size", "1280x720").sample_aspect is None  # as unknown as it was
    assert becomes(video(640, 360, Fraction(1)), "size", "1280x720").sample_aspect == 1
    assert becomes(video(1280, 720), "size", "1366x768").sample_aspect == Fraction(2048, 2049)


@pytest.mark.parametrize("rotation", [90, -90, 270])
def test_what_is_shown_turned_is_measured_turned(rotation: int) -> None:
    phone = video(1280, 720, rotation=rotation)  # shown as 720x1280
    assert of(becomes(phone, "fit", "1080p")) == (2, 1920, 1080)  # shown as 1080x1920
    assert of(becomes(phone, "height", "1920")) == (2, 1920, 1080)
    assert of(becomes(phone, "height", "1707")) == (2, 1707, 960)
    assert of(becomes(phone, "size", "1920x1080")) == (2, 1920, 1080)  # stored pixels
    with pytest.raises(InputError, match=r"clip\.mp4 is 720x1280 already"):
        becomes(phone, "height", "1080")
    assert of(becomes(video(1280, 720, rotation=180), "fit", "1080p")) == (2, 1920, 1080)


def test_pixels_that_are_not_square_are_measured_as_shown() -> None:
    wide = becomes(video(720, 576, Fraction(64, 45)), "fit", "1080p")  # shown as 1024x576
    assert of(wide) == (2, 1350, 1080) and wide.sample_aspect == Fraction(64, 45)
    wide = becomes(video(1440, 1080, Fraction(4, 3)), "fit", "4k")  # HDV, shown as 1920x1080
    assert of(wide) == (2, 2880, 2160)
    # Shown turned, 1080x1920: stored 1440 samples are 1920 rows.
    assert of(becomes(video(1440, 1080, Fraction(4, 3), 90), "fit", "4k")) == (2, 2880, 2160)
    assert of(becomes(video(1440, 1080, Fraction(4, 3), 90), "height", "2880")) == (2, 2160, 1620)
    assert of(becomes(video(720, 576, Fraction(64, 45)), "height", "1080")) == (2, 1350, 1080)


def test_beyond_four_times_the_rest_is_bicubic_and_said() -> None:
    got = becomes(video(320, 180), "fit", "1080p")
    assert of(got) == (4, 1920, 1080)
    assert got.warning is not None and got.warning[0] == "beyond_factor"
    assert "320x180" in got.warning[1] and "bicubic" in got.warning[1] and "clip.mp4" in got.warning[1]
    assert becomes(video(480, 270), "fit", "1080p").warning is None


@pytest.mark.parametrize(("source", "flag", "text", "said"), [
    ((1920, 1080), "fit", "1080p", "1920x1080 already, which --fit 1080p does not enlarge"),
    ((1920, 800), "fit", "1080p", "1920x800 already"),
    ((1280, 720), "height", "720", "1280x720 already"),
    ((1280, 720), "height", "480", "1280x720 already"),
    ((1280, 720), "size", "1280x720", "1280x720 already"),
    ((1280, 720), "size", "640x360", "1280x720 already"),
    ((1280, 720), "size", "1920x700", "shrink one side; give at least 1920x720"),
    ((640, 480), "size", "600x900", "shrink one side; give at least 640x900"),
    ((4000, 100), "height", "1000", "40000x1000"),
])
def test_nothing_is_shrunk_and_nothing_grows_absurdly(
    source: tuple[int, int], flag: str, text: str, said: str
) -> None:
    with pytest.raises(InputError, match=rf"clip\.mp4.*{said}") as error:
        becomes(video(*source), flag, text)
    assert "\n" not in str(error.value)


@given(width=st.integers(1, 4000), height=st.integers(1, 4000), aspect=st.none() | st.fractions(Fraction(1, 4), 4),
       rotation=st.sampled_from([0, 90, 180, -90]),
       flag=st.sampled_from(["720p", "1080p", "1440p", "4k"]) | st.integers(16, 4000)
       | st.tuples(*[st.integers(16, 4000)] * 2))
def test_whatever_comes_out_is_right(width: int, height: int, aspect: Fraction | None, rotation: int,
                                     flag: str | int | tuple[int, int]) -> None:
    info = video(width, height, aspect, rotation)
    kind, text = (("fit", flag) if isinstance(flag, str) else ("height", str(flag)) if isinstance(flag, int)
                  else ("size", f"{flag[0]}x{flag[1]}"))
    try:
        got = becomes(info, kind, text)
    except InputError:
        assume(False)
    assert width <= got.width <= LONGEST and height <= got.height <= LONGEST
    assert (got.width, got.height) != (width, height)
    enough = [n for n in (2, 3, 4) if n * width >= got.width and n * height >= got.height]
    assert got.factor == (enough or [4])[0] and bool(got.warning) == (not enough)
    shape = Fraction(width, height) * (aspect or 1)
    if kind == "size":
        assert Fraction(got.width, got.height) * (got.sample_aspect or 1) == shape
        return
    assert got.sample_aspect == aspect
    shown = [got.width * (aspect or 1), got.height]
    if rotation in (90, -90):
        shown.reverse()
    step = max(aspect or 1, 1)  # half of the distance between even numbers, as shown
    if kind == "height":
        assert abs(shown[1] - flag) <= step / 2 if aspect else shown[1] == flag
    else:
        assert got.width % 2 == got.height % 2 == 0
        box = BOXES[str(flag)]
        slack = [max(sorted(box)[i] - sorted(shown)[i], 0) for i in (0, 1)]
        over = [sorted(shown)[i] - sorted(box)[i] for i in (0, 1)]
        assert max(over) <= step and min(slack) <= step  # fits but for rounding, and touches
