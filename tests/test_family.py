"""Which member of the family a frame gets: by quantiser and sharpness, steadily, and without a trace of the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vsr.engines import has_int8, open_engine
from vsr.errors import UsageError
from vsr.events import Done, Event, Progress, Started
from vsr.frame import Frame
from vsr.job import Job
from vsr.media.decode import Decoder
from vsr.models.catalogue import catalogue, find, load, load_members, random_weights, save_file
from vsr.models.family import BOUNDS, CLEAN, MEMBERS, NAME, SLACK, Choice, coarseness, sharpness
from vsr.pipeline import run
from vsr.upscale import Upscaler

LAST = len(MEMBERS) - 1


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    """Luma of natural sharpness."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.uniform(0, 1, (48, 64)), (0, 0), 4)
    edges = cv2.GaussianBlur(60 + 120.0 * (noise > noise.mean()), (0, 0), 0.8)
    return np.clip(edges + rng.normal(0, 3, edges.shape), 16, 235).astype(np.uint8)


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights in which the family is whole for x2, and lacks a member for x3."""
    folder = tmp_path / "assets" / "weights"
    folder.mkdir(parents=True)
    for seed, member in enumerate(MEMBERS):
        for scale in (2, 3)[: 2 - (member == MEMBERS[2])]:
            weights = random_weights(32, 5, 1, scale, seed)
            save_file(folder / f"{member}_x{scale}.safetensors", weights)
            save_file(folder / f"{member}_x{scale}_int8.safetensors", random_weights(32, 5, 1, scale, seed, True))
    monkeypatch.setattr("vsr.models.catalogue.assets_dir", lambda: tmp_path / "assets")
    return folder


def followed(quantizers: Sequence[float | None], luma: np.ndarray, every: int = 12) -> list[int]:
    """The members that a video of these quantisers gets, a key frame at every so many."""
    choice = Choice()
    return [choice(luma, 8, quantizer, number % every == 0) for number, quantizer in enumerate(quantizers)]


def reaching(coarse: float, luma: np.ndarray) -> float:
    """The quantiser with which this picture is as coarse as that."""
    return coarse - coarseness(0, sharpness(luma, 8))


def test_sharpness_is_that_of_the_detail_and_not_of_its_strength(plain: np.ndarray) -> None:
    soft = cv2.GaussianBlur(plain, (0, 0), 2)
    assert sharpness(soft, 8) < sharpness(plain, 8) - 0.5
    faint = (plain // 4 + 90).astype(np.uint8)
    assert abs(sharpness(faint, 8) - sharpness(plain, 8)) < 0.25
    assert sharpness(plain.astype(np.uint16) << 2, 10) == sharpness(plain, 8)
    assert sharpness(np.full((9, 9), 50, np.uint8), 8) == sharpness(plain[:1, :1], 8) == 0
    white = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    assert 0.5 < sharpness(white, 8) <= 1


def test_coarser_and_softer_video_gets_later_members(plain: np.ndarray) -> None:
    for member in range(LAST + 1):
        inside = np.interp(member, [0, *range(1, LAST), LAST], [BOUNDS[0] - 4, *np.add(BOUNDS[:-1], BOUNDS[1:]) / 2,
                                                               BOUNDS[-1] + 4])
        assert followed([reaching(float(inside), plain)] * 30, plain)[-1] == member
    between = [reaching((BOUNDS[1] + BOUNDS[2]) / 2, plain)] * 30
    assert followed(between, cv2.GaussianBlur(plain, (0, 0), 2))[-1] > followed(between, plain)[-1]


def test_what_is_not_known_changes_nothing(plain: np.ndarray) -> None:
    assert followed([None] * 20, plain) == [0] * 20
    coarse = reaching(BOUNDS[-1] + 5, plain)
    assert followed([coarse] * 10 + [None] * 10, plain) == [LAST] * 20


def test_a_gop_does_not_flip_members(plain: np.ndarray) -> None:
    """Key frames finer, the others in waves, around a place at a bound, the worst that there is."""
    wave = [-2.5, *[0, 1.5, 0.5, 2] * 6][:24]
    for place in (BOUNDS[1], BOUNDS[1] + SLACK / 2, BOUNDS[2] - SLACK / 2):
        members = followed([reaching(place + step, plain) for step in wave * 8], plain, every=24)
        assert len(set(members[24:])) == 1


def test_a_slow_change_switches_once_each_way(plain: np.ndarray) -> None:
    up = np.linspace(BOUNDS[1] - 5, BOUNDS[1] + 5, 200)
    members = followed([reaching(float(c), plain) for c in [*up, *up[::-1]]], plain, every=1000)
    assert np.abs(np.diff(members)).sum() == 2 and members[0] == members[-1] == 1 and max(members) == 2
    first, second = np.flatnonzero(np.diff(members))
    assert up[first] > BOUNDS[1] + SLACK and [*up, *up[::-1]][second] < BOUNDS[1] - SLACK


def test_another_scene_changes_at_its_key_frame_and_the_past_alone_decides(plain: np.ndarray) -> None:
    fine, coarse = reaching(BOUNDS[0] - 4, plain), reaching(BOUNDS[-1] + 4, plain)
    members = followed([fine] * 24 + [coarse] * 24, plain)
    assert members == [0] * 24 + [LAST] * 24
    assert followed([fine] * 24, plain) == members[:24]
    midway = followed([fine] * 30 + [coarse] * 18, plain, every=100)
    assert midway[30] == 0 and sorted(midway) == midway and midway[-1] > 0


def test_the_family_is_a_model_where_all_of_its_members_are(family: Path) -> None:
    entry = find(NAME, 2)
    assert entry.scales == (2,) and entry.members == MEMBERS and set(MEMBERS) < set(catalogue())
    assert load(NAME, 2).name == NAME
    assert np.array_equal(load(NAME, 2).deconvolution, load(CLEAN, 2).deconvolution)
    assert [weights.name for weights in load_members(NAME, 2)] == list(MEMBERS)
    assert all(weights.quantization for weights in load_members(NAME, 2, "int8"))
    assert load_members(CLEAN, 2) == load_members("bicubic", 2) == ()
    assert has_int8(NAME, 2) and not has_int8(NAME, 3)
    with pytest.raises(UsageError, match="no scale 3"):
        find(NAME, 3)
    (family / f"{MEMBERS[3]}_x2_int8.safetensors").unlink()
    assert not has_int8(NAME, 2)
    (family / f"{MEMBERS[3]}_x2.safetensors").unlink()
    assert NAME not in catalogue()


def test_each_frame_is_made_by_its_member(plain: np.ndarray, family: Path) -> None:
    members = load_members(NAME, 2)
    coarse = [reaching(c, plain) for c in (BOUNDS[0] - 4, BOUNDS[-1] + 4, BOUNDS[0] - 4)]
    engine = open_engine(NAME, 2, precision="fp32", engine="reference")
    upscaler = Upscaler(engine, None, 0, 128, 96, members)
    for quantizer, member in zip(coarse, (0, LAST, 0), strict=True):
        big = upscaler(Frame((plain,), 8, 0, Fraction(1, 25), key=True, quantizer=quantizer))
        alone = open_engine(members[member], 2, precision="fp32", engine="reference").upscale(plain)
        assert np.array_equal(big.luma, alone)
    assert upscaler.shares == {name: {0: 2 / 3, LAST: 1 / 3}.get(i, 0) for i, name in enumerate(MEMBERS)}
    assert Upscaler(engine, None, 0, 128, 96).shares is None


def test_a_file_gets_its_members_and_says_so(family: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "a.h264", b""
    ground = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (96, 128)), (0, 0), 1.2)
    ground = np.clip(128 + 3 * (ground - 128), 16, 235).astype(np.uint8)
    for qp in ("4", "44"):
        with av.open(str(path), "w") as container:
            options = {"qp": qp, "preset": "ultrafast"}
            video = container.add_stream("libx264", 25, width=96, height=80, pix_fmt="gray", options=options)
            for i in range(12):
                frame = np.ascontiguousarray(ground[i:i + 80, 2 * i:2 * i + 96])
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "gray")))
            container.mux(video.encode(None))
        whole += path.read_bytes()
    path.write_bytes(whole)
    events: list[Event] = []
    done = run(Job(path, tmp_path / "b.mkv", model=NAME, precision="fp32", engine="reference", codec="ffv1"),
               events.append)
    assert isinstance(done, Done)
    assert done.members == {MEMBERS[0]: 0.5, **dict.fromkeys(MEMBERS[1:-1], 0), MEMBERS[-1]: 0.5}
    assert [event.model for event in events if isinstance(event, Started)] == [NAME]
    assert [event.members for event in events if isinstance(event, Progress)][-1] == done.members
    assert json.loads(json.dumps(done.to_json()))["members"][MEMBERS[0]] == 0.5
    pinned = [run(Job(path, tmp_path / f"{name}.mkv", model=name, precision="fp32", engine="reference", codec="ffv1"))
              for name in (MEMBERS[0], MEMBERS[-1])]
    assert all(one and one.members is None for one in pinned)
    made, clean, worst = ([item.luma for item in Decoder(one.output) if isinstance(item, Frame)]
                          for one in (done, *pinned) if one)
    assert all(map(np.array_equal, made, clean[:12] + worst[12:]))
    assert not np.array_equal(clean[0], worst[0])


def test_an_engine_without_weights_has_none_to_exchange() -> None:
    with pytest.raises(ValueError, match="no weights"):
        open_engine("bicubic", 2, engine="reference").use(random_weights(32, 5, 1, 2))
