"""Whole jobs: everything of a file arrives in its big twin, and a job that fails leaves nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from conftest import Clip, Nearest

import vsr.pipeline
from vsr.engines import open_engine
from vsr.engines.resample import resizer
from vsr.errors import Cancelled, CheckError, EngineError, InputError, OutputError, UsageError, VsrError
from vsr.events import Done, Event, Failed, Progress, Started, Warned
from vsr.frame import Frame
from vsr.job import Control, Job, plan
from vsr.media.cut import Cut
from vsr.media.decode import Decoder
from vsr.media.folder import media_in
from vsr.media.partfile import PartFile, leftovers
from vsr.media.probe import probe
from vsr.media.verify import Check, verify
from vsr.models import DEFAULT_MODEL
from vsr.pipeline import run_together
from vsr.size import Size
from vsr.upscale import Upscaler

RGB_AS_444 = "yuv444p"
FAST = {"movflags": "faststart"}  # the index first: a cut file can still be read
GREY_AS_420 = "yuv420p"  # so FFmpeg decodes 8-bit monochrome H.264


def upscale(path: Path, **options: Any) -> Done:
    events = options.pop("on_event", None)
    control = {key: options.pop(key) for key in ("cancel", "pause", "depth", "engines") if key in options}
    job = Job(path, model="bicubic", **{"preset": "ultrafast", **options})
    done = vsr.pipeline.run(job, events, **{"engines": Nearest, **control})
    assert done is not None
    return done


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Every stream of a kind as its packets: when and what."""
    with av.open(str(path)) as container:
        found: dict[int, list[tuple[Fraction, bytes]]] = {s.index: [] for s in container.streams if s.type == kind}
        for packet in container.demux():
            if packet.size and packet.stream.index in found:
                found[packet.stream.index].append(((packet.pts or 0) * packet.time_base, bytes(packet)))
    return list(found.values())


def times(path: Path) -> list[Fraction]:
    with Decoder(path) as source:
        return [item.pts * item.time_base for item in source if isinstance(item, Frame)]


# ---- what goes in comes out --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "time_base", "pts"),
    [
        ("b-frames.mp4", Fraction(1, 12800), range(0, 60 * 512, 512)),
        ("offset.mp4", Fraction(1, 90000), range(123457, 123457 + 20 * 3003, 3003)),
        ("vfr.mp4", Fraction(1, 90000), [0, 3003, 3004, 90000, 93003, 200001, 200002, 280000]),
        ("vfr.mkv", Fraction(1, 1000), [0, 17, 50, 51, 400, 433, 1200, 1201, 1300, 2000]),
        ("late.mkv", Fraction(1, 1000), range(7003, 8000, 41)),
        ("one-frame.mov", Fraction(1, 600), [0]),
    ],
)
def test_every_frame_timestamp_packet_and_tag_arrives(
    clip: Clip, name: str, time_base: Fraction, pts: list[int]
) -> None:
    path = clip(
        name, time_base=time_base, pts=pts, audio=2, audio_start_s=pts[0] * time_base, chapters=min(2, len(pts) - 1),
        metadata={"title": "Ein Titel — 題名", "artist": "someone"}, options={"bf": "3"},
    )  # fmt: skip
    done = upscale(path)
    assert done.output == path.with_name(path.stem + "_x2" + path.suffix)
    assert done.frames == len(pts)
    assert all(check.ok for check in done.checks)
    assert times(done.output) == times(path) == [p * time_base for p in pts]
    sound, copied = packets(path, "audio"), packets(done.output, "audio")
    assert len(sound) == 2 and copied == sound
    before, after = probe(path), probe(done.output)
    assert [s.language for s in before.streams[:3]] == [s.language for s in after.streams[:3]] == [None, "eng", "spa"]
    assert (after.video.width, after.video.height) == (96, 64)
    with av.open(str(path)) as a, av.open(str(done.output)) as b:
        assert {key: b.metadata[key.upper() if path.suffix == ".mkv" and key != "title" else key] for key in
                ("title", "artist")} == {"title": "Ein Titel — 題名", "artist": "someone"}  # fmt: skip
        seconds = [[(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
                    for c in container.chapters()] for container in (a, b)]  # fmt: skip
        assert len(seconds[0]) == min(2, len(pts) - 1) and seconds[0] == seconds[1]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("color", [(1, 1, 1, 1), (2, 6, 6, 6), (2, 1, 1, 1), (1, 9, 9, 16), (0, 2, 2, 2)])
def test_colour_aspect_and_rotation_are_those_of_the_source(
    clip: Clip, name: str, color: tuple[int, int, int, int]
) -> None:
    pix_fmt = "yuv420p10le" if color[3] == 16 else "yuv420p"
    path = clip(name, color=color, pix_fmt=pix_fmt, aspect=Fraction(8, 9), rotation=-90, pts=range(0, 2000, 400),
                time_base=Fraction(1, 10000), options={"chroma_sample_location": "topleft"})  # fmt: skip
    before, after = probe(path).video, probe(upscale(path).output).video
    assert before.rotation_degrees == -90 and before.sample_aspect == Fraction(8, 9)
    for tag in ("color", "sample_aspect", "rotation_degrees"):
        assert getattr(after, tag) == getattr(before, tag)


def test_a_mirrored_display_matrix_is_kept(clip: Clip, tmp_path: Path) -> None:
    plain = clip("plain.mp4")
    mirrored = tmp_path / "mirrored.mp4"
    with av.open(str(plain)) as source, av.open(str(mirrored), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        stream.set_display_rotation(90, hflip=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    matrices = []
    for path in (mirrored, upscale(mirrored).output):
        with Decoder(path) as source:
            matrices.append(source.display_matrix)
    assert matrices[0] is not None and matrices[0] == matrices[1]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size", "scale", "made"),
    [
        ("libx264", "yuv420p", (48, 32), 3, "yuv420p"),
        ("libx264", "yuv420p10le", (48, 32), 4, "yuv420p10le"),
        ("ffv1", "yuv420p", (47, 31), 2, "yuv420p"),
        ("ffv1", "yuv420p", (47, 31), 3, "yuv444p"),
        ("ffv1", "yuv422p", (47, 31), 2, "yuv422p"),
        ("ffv1", "yuv444p", (47, 31), 3, "yuv444p"),
        ("ffv1", "yuv411p", (48, 32), 2, "yuv411p"),
        ("ffv1", "gray", (47, 31), 3, GREY_AS_420),
        ("ffv1", "bgra", (46, 30), 2, "yuva444p"),
        ("png", "rgb24", (46, 30), 2, RGB_AS_444),
        ("mjpeg", "yuvj420p", (48, 32), 2, "yuvj420p"),
    ],
)
def test_every_kind_of_picture(
    clip: Clip, codec: str, pix_fmt: str, size: tuple[int, int], scale: int, made: str
) -> None:
    name = "a.mov" if codec == "png" else "a.mkv"
    path = clip(name, codec=codec, pix_fmt=pix_fmt, size=size, time_base=Fraction(1, 1000), pts=range(0, 200, 40))
    done = upscale(path, scale=scale, crf=1)
    video = probe(done.output).video
    assert (video.width, video.height, video.pix_fmt) == (size[0] * scale, size[1] * scale, made)
    with Decoder(path) as before, Decoder(done.output) as after:
        for a, b in zip(before, after, strict=True):
            assert isinstance(a, Frame) and isinstance(b, Frame)
            small = b.luma[scale // 2 :: scale, scale // 2 :: scale].astype(float)
            assert np.abs(small - a.luma).mean() < 3
            for x, y in zip(a.planes[1:], b.planes[1:], strict=False):
                assert abs(x.mean() - y.mean()) < 3


@pytest.mark.parametrize(("codec", "ext"), [("hevc", ".mp4"), ("vp9", ".webm"), ("av1", ".mkv"), ("prores", ".mov"),
                                            ("ffv1", ".mkv"), ("h264", ".avi")])  # fmt: skip
def test_every_codec_in_a_container_of_its_own(clip: Clip, tmp_path: Path, codec: str, ext: str) -> None:
    path = clip("a.mkv", time_base=Fraction(1, 1000), pts=range(0, 800, 40), color=(1, 1, 1, 1))
    preset = None if codec in ("prores", "ffv1") else "ultrafast"
    done = upscale(path, codec=codec, preset=preset, output=tmp_path / f"out{ext}")
    assert times(done.output) == times(path)


def test_subtitles_and_attachments_are_copied_where_they_can_be(clip: Clip, tmp_path: Path) -> None:
    plain, path = clip("plain.mkv", time_base=Fraction(1, 1000), pts=range(0, 400, 40)), tmp_path / "a.mkv"
    srt = tmp_path / "a.srt"
    srt.write_text("1\n00:00:00,100 --> 00:00:00,200\nHello\n\n2\n00:00:00,300 --> 00:00:00,350\nagain\n")
    with av.open(str(plain)) as source, av.open(str(srt)) as lines, av.open(str(path), "w") as out:
        streams = {}
        for stream in (source.streams.video[0], lines.streams.subtitles[0]):
            streams[stream] = out.add_stream_from_template(stream, opaque=True)
        out.add_attachment("font.ttf", "font/ttf", b"glyphs")
        for packet in [*source.demux(), *lines.demux()]:
            if packet.size:
                packet.stream = streams[packet.stream]
                out.mux(packet)
    warned: list[Event] = []
    done = upscale(path, on_event=warned.append)
    assert [s.type for s in probe(done.output).streams] == ["video", "subtitle", "attachment"]
    assert packets(done.output, "subtitle") == packets(path, "subtitle")
    with av.open(str(done.output)) as container:
        assert container.streams[2].data == b"glyphs"
    assert not [event for event in warned if isinstance(event, Warned)]

    upscale(path, output=tmp_path / "b.mp4", on_event=warned.append)
    said = [event.message for event in warned if isinstance(event, Warned)]
    assert len(said) == 1 and "attachment #2" in said[0]


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_cover_art_stays_cover_art(clip: Clip, tmp_path: Path, name: str) -> None:
    plain, path = clip("plain.mp4", audio=1), tmp_path / "a.mp4"
    jpeg = av.CodecContext.create("mjpeg", "w")
    jpeg.width, jpeg.height, jpeg.pix_fmt, jpeg.time_base = 16, 16, "yuvj420p", Fraction(1)
    cover = next(iter(jpeg.encode(av.VideoFrame(16, 16, "yuvj420p")) + jpeg.encode(None)))
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        streams = {s: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        picture = out.add_mux_stream("mjpeg", width=16, height=16)
        picture.disposition = Disposition.attached_pic
        cover.stream, cover.pts, cover.dts, cover.time_base = picture, 0, 0, Fraction(1)
        out.mux(cover)
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream]
                out.mux(packet)
    for each in (path, upscale(path, output=tmp_path / name).output):
        last = probe(each).streams[-1]
        assert (last.type, last.codec, last.disposition) == ("video", "mjpeg", ("attached_pic",))
        assert packets(each, "video")[-1][0][1] == bytes(cover)


# ---- how it is done ----------------------------------------------------------------------------------------------


def test_threads_change_nothing(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4", audio=1, pts=range(0, 30 * 512, 512))
    threaded = upscale(path, output=tmp_path / "threaded.mp4").output.read_bytes()
    for depth in (0, 1):
        assert upscale(path, output=tmp_path / f"{depth}.mp4", depth=depth).output.read_bytes() == threaded


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_frames_that_are_under_way_together_change_nothing(clip: Clip, tmp_path: Path, ahead: int) -> None:
    path = clip("a.mp4", audio=1, pts=range(0, 30 * 512, 512))
    plain = upscale(path, output=tmp_path / "plain.mp4").output.read_bytes()
    engine, events = Deferring("m", 2), list[Event]()
    engine.ahead = ahead
    made = upscale(path, output=tmp_path / "deferred.mp4", engines=lambda *_, **__: engine, on_event=events.append)
    assert made.output.read_bytes() == plain
    assert engine.most_under_way == min(ahead + 1, 30) and engine.under_way == 0
    assert [event.message for event in events if isinstance(event, Warned)] == ["deferred"]


def test_a_frame_that_fails_when_it_is_waited_for_leaves_nothing(clip: Clip, tmp_path: Path) -> None:
    engine = Deferring("m", 2)
    engine.fails_at = 9
    fails(EngineError, "out of luck", tmp_path, path=clip("a.mp4", audio=1), engines=lambda *_, **__: engine)


class Deferring(Nearest):
    """Does all work when it is asked for the planes."""

    ahead = 1
    under_way = most_under_way = finished = 0
    fails_at = None

    def begin(self, *args: Any) -> Callable[[], list[np.ndarray]]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        if not self.finished and self.under_way == 1:
            self.warnings.append(("deferred", "deferred"))

        def finished() -> list[np.ndarray]:
            self.under_way -= 1
            self.finished += 1
            if self.finished == self.fails_at:
                raise EngineError("out of luck")
            return super(Deferring, self).begin(*args)()

        return finished


def test_a_still_camera_costs_little_and_no_byte_differs(tmp_path: Path) -> None:
    """Through the real engine: half the picture stands still for a while."""
    pytest.importorskip("halide", reason="the cpu engine needs halide, which has no wheel here")
    rng = np.random.default_rng(0)
    scene = rng.integers(16, 236, (96, 64), dtype=np.uint8)
    path = tmp_path / "still.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 96, "gray"
        for _ in range(20):
            scene[48:] = rng.integers(16, 236, (48, 64))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene, "gray")))
        container.mux(stream.encode(None))
    events: list[Event] = []
    options = {"precision": "fp32", "engine": "cpu", "codec": "ffv1"}
    done = vsr.pipeline.run(Job(path, **options), events.append)
    assert done is not None
    last = next(event for event in reversed(events) if isinstance(event, Progress))
    assert 0.3 < last.reused < 0.5 and done.reused == last.reused == pytest.approx(done.to_json()["reused"], abs=1e-4)
    engine = open_engine(precision="fp32", engine="cpu")
    with Decoder(path) as source, Decoder(done.output) as made:
        small, big = ([item.luma.copy() for item in each if isinstance(item, Frame)] for each in (source, made))
    assert len(big) == 20
    for low, high in zip(small, big, strict=True):
        engine.upscale(np.zeros((1, 1), np.uint8))  # it forgets
        assert np.array_equal(engine.upscale(low), high)


@pytest.mark.parametrize("size", [None, Size.parse_size("150x100")], ids=["whole", "between"])
def test_the_first_frame_finds_chroma_compiled(clip: Clip, size: Size | None) -> None:
    pytest.importorskip("halide", reason="the cpu engine needs halide, which has no wheel here")
    resizer.cache_clear()
    ahead: list[int] = []

    def opening(*args: Any, **options: Any) -> Any:
        return Watched(open_engine(*args, **options))

    class Watched:
        def __init__(self, engine: Any) -> None:
            self.engine = engine

        def __getattr__(self, name: str) -> Any:
            if name == "begin":
                ahead.append(resizer.cache_info().misses)
            return getattr(self.engine, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.engine.close()

    upscale(clip("a.mp4"), engine="cpu", size=size, engines=opening)
    luma = size is not None  # is resized too
    assert ahead[0] == 1 and resizer.cache_info().misses == 1 + luma


def test_events_say_what_the_contract_promises(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vsr.pipeline, "_PROGRESS_S", 0)
    path = clip("a.mp4", audio=1)
    events: list[Event] = []
    done = upscale(path, on_event=events.append)
    lines = [json.loads(json.dumps(event.to_json())) for event in events]
    assert [line["event"] for line in lines] == ["start", *["progress"] * (len(lines) - 2), "done"]
    assert all(line["v"] == 1 and line["input"] == str(path) for line in lines)
    start, last, end = lines[0], lines[-2], lines[-1]
    assert start == {
        "v": 1, "event": "start", "input": str(path), "output": str(done.output), "width": 96, "height": 64, "scale": 2,
        "model": "bicubic", "engine": "nearest", "precision": "fp32", "codec": "h264", "frames": 12,
        "estimate": start["estimate"],
    }  # fmt: skip
    assert start["estimate"]["seconds"] > 0 and start["estimate"]["bytes"] > 0
    assert set(last) == {"v", "event", "input", "frame", "frames", "fps", "eta_s", "stage_ms", "bottleneck", "reused",
                         "members"}
    assert last["members"] is end["members"] is None  # no family
    assert set(last["stage_ms"]) == {"decode", "upscale", "encode"} and last["bottleneck"] in last["stage_ms"]
    assert all(ms > 0 for ms in last["stage_ms"].values())
    counted = [line["frame"] for line in lines[1:-1]]
    assert counted == sorted(counted) and counted[-1] == last["frames"] == 12 and last["eta_s"] == 0
    assert end["output"] == str(done.output) and end["frames"] == 12
    assert {"frames", "size", "timestamps", "audio 1"} <= {check["name"] for check in end["checks"]}
    assert all(set(check) == {"name", "ok", "expected", "got"} and check["ok"] for check in end["checks"])
    assert Failed(path, InputError("no")).to_json() == {
        "v": 1, "event": "error", "input": str(path), "code": "input", "message": "no"}  # fmt: skip


def test_too_little_space_is_said_before_the_work(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip("a.mp4", pts=range(0, 60 * 512, 512))
    events: list[Event] = []
    upscale(path, on_event=events.append)
    assert not [event for event in events if isinstance(event, Warned)]
    little = shutil.disk_usage(path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: little)
    events.clear()
    upscale(path, on_event=events.append, overwrite=True)
    assert [event.code for event in events if isinstance(event, Warned)] == ["space"]


def test_a_stage_counts_its_work_and_not_its_waiting(clip: Clip) -> None:
    class Slow(Nearest):
        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            time.sleep(0.02)
            super()._run(luma, out)

    events: list[Event] = []
    upscale(clip("a.mp4"), on_event=events.append, engines=Slow)
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.bottleneck == "upscale" and last.stage_ms["upscale"] >= 20
    assert last.fps <= 50  # the first frames, which the estimate is made from, count as the others do
    assert last.stage_ms["decode"] < last.stage_ms["upscale"] > last.stage_ms["encode"]


def test_a_stage_that_is_ahead_is_not_taken_for_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("a.mp4")
    meter = vsr.pipeline._Meter(path, Control(path, None, None), 9)
    clock = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))  # a second whenever it is looked at
    frame = Frame((np.zeros((2, 2), np.uint8),), 8, 0, Fraction(1, 25))
    for stage, frames in (("decode", 9), ("upscale", 5), ("encode", 2)):
        for _ in range(frames):
            with meter.work(stage):
                pass
            meter.count(stage, frame)
    assert meter.progress().stage_ms == {"decode": 1000, "upscale": 1000, "encode": 1000}


@pytest.mark.parametrize(
    ("name", "made_of", "options", "expected"),
    [
        ("dir.ext/a.mp4", {}, {}, "a_x2.mp4"),
        ("a.MOV", {}, {"scale": 3}, "a_x3.MOV"),
        ("a.b.mkv", {}, {}, "a.b_x2.mkv"),
        ("a.avi", {"codec": "mpeg4", "time_base": Fraction(1, 25), "pts": range(9)}, {"scale": 4}, "a_x4.avi"),
        ("a.avi", {"time_base": Fraction(1, 25), "pts": range(9)}, {}, "a_x2.mkv"),  # with B-frames: it starts later
        ("a.webm", {"codec": "libvpx-vp9"}, {}, "a_x2.mkv"),
        ("a.webm", {"codec": "libvpx-vp9"}, {"codec": "vp9"}, "a_x2.webm"),
        ("a.mp4", {}, {"codec": "prores", "preset": None}, "a_x2.mkv"),
        ("a.mp4", {"pix_fmt": "yuv422p12le", "codec": "libx265"}, {}, "a_x2.mp4"),
        ("a.mkv", {"pix_fmt": "yuv444p16le", "codec": "ffv1"}, {"preset": None}, "a_x2.mkv"),
        ("a.ts", {"time_base": Fraction(1, 90000)}, {}, "a_x2.mkv"),
        ("a", {}, {}, "a_x2.mkv"),
        ("a.mp4", {}, {"output": Path("c.mkv")}, "c.mkv"),
        ("a.mp4", {}, {"size": Size.parse_size("64x64")}, "a_64x64.mp4"),
        ("a.mp4", {}, {"size": Size.parse_height("128")}, "a_192x128.mp4"),
        ("a{b}.mp4", {}, {"name": "big {name}, {scale} {width}x{height} {model}"},
         f"big a{{b}}, 2 96x64 {DEFAULT_MODEL}.mp4"),
        ("a.mp4", {}, {"name": "{tag}"}, "x2.mp4"),
    ],
)
def test_where_the_output_goes(
    clip: Clip, tmp_path: Path, name: str, made_of: dict[str, Any], options: dict[str, Any], expected: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    made = clip("made" + (Path(name).suffix or ".mp4"), **made_of)
    job = Job(made.rename(tmp_path / name), **options)
    with Decoder(job.input) as source:
        assert plan(job, source).target == (Path(expected) if job.output else job.input.with_name(expected))
        folder = replace(job, output=tmp_path)
        assert plan(folder, source).target == tmp_path / expected or job.output


# ---- what goes wrong ---------------------------------------------------------------------------------------------


def existing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fails(kind: type[VsrError], says: str, folder: Path, **options: Any) -> None:
    """The job raises ``kind``, and the folder is as it was."""
    before = existing(folder)
    with pytest.raises(kind, match=says) as caught:
        upscale(**options)
    assert "\n" not in str(caught.value)
    assert existing(folder) == before


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"path": "missing.mp4"}, InputError, "does not exist"),
        ({"path": "nowhere/missing.mp4"}, InputError, "does not exist"),
        ({"path": "text.mp4"}, InputError, "not a video"),
        ({"path": "empty.mp4"}, InputError, "is empty"),
        ({"path": "folder"}, InputError, "is a folder"),
        ({"path": "sound.wav"}, InputError, "holds no video"),
        ({"output": "text.mp4/out.mp4"}, OutputError, "text.mp4"),
        ({"output": "nowhere/out.mp4"}, OutputError, "nowhere"),
        ({"output": "taken.mp4"}, OutputError, "exists already"),
        ({"output": "a.mp4"}, OutputError, "is the input"),
        ({"output": "a.mp4", "overwrite": True}, OutputError, "is the input"),
        ({"output": "link.mp4", "overwrite": True}, OutputError, "is the input"),
        ({"output": "out.xyz"}, UsageError, r"out\.xyz has no extension"),
        ({"codec": "h26x"}, UsageError, "unknown codec"),
        ({"output": "out.webm", "codec": "h264"}, UsageError, "webm cannot hold h264"),
        ({"deinterlace": "maybe"}, UsageError, "unknown way to deinterlace"),
        ({"overwrite": True, "skip_existing": True}, UsageError, "replaced, skipped"),
        ({"overwrite": True, "keep_both": True}, UsageError, "choose one"),
        ({"name": "{name}_{siez}"}, UsageError, r"'\{siez\}' .* is unknown; use \{name\}"),
        ({"name": "{name"}, UsageError, r"'\{name'"),
        ({"name": "../{name}"}, UsageError, "'/' cannot be in"),
        ({"name": " . "}, UsageError, "has no name"),
        ({"name": "{name}", "overwrite": True}, OutputError, "is the input"),
        ({"preset": "warp"}, UsageError, "unknown preset"),
        ({"encoder_options": (("no-such", "1"),)}, UsageError, "no option no-such"),
        ({"scale": 5}, UsageError, "scale 5"),
    ],
)
def test_bad_jobs_are_refused_and_leave_nothing(
    clip: Clip, tmp_path: Path, options: dict[str, Any], kind: type[VsrError], says: str
) -> None:
    path = clip("a.mp4")
    (tmp_path / "text.mp4").write_text("Licensed under the Apache License, Version 2.0 (the License);\n" * 40)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "taken.mp4").write_text("mine")
    (tmp_path / "folder").mkdir()
    with contextlib.suppress(OSError):
        (tmp_path / "link.mp4").symlink_to(path)
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        container.add_stream("pcm_s16le", rate=8000)
        container.start_encoding()
    places = {key: tmp_path / options[key] for key in ("path", "output") if key in options}
    fails(kind, says, tmp_path, **{"path": path, **options, **places})


def test_an_unknown_model_is_found_before_the_input_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown model 'no-such'"):
        vsr.pipeline.run(Job(tmp_path / "missing.mp4", model="no-such"))


def test_an_existing_output_is_replaced_when_asked(clip: Clip, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("old")
    assert upscale(clip("a.mp4"), output=target, overwrite=True).output == target
    assert times(target)


def test_an_existing_output_is_kept_beside_the_new_one_when_asked(clip: Clip) -> None:
    path = clip("a.mp4")
    made = [upscale(path, keep_both=True).output.name for _ in range(3)]
    assert made == ["a_x2.mp4", "a_x2 (2).mp4", "a_x2 (3).mp4"]
    assert media_in(path.parent) == [path]


def test_what_a_crash_left_behind_is_found(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    for other in (target, tmp_path / "out.2.mp4", tmp_path / "out.mkv"):
        PartFile(other, False).create()
    left = PartFile(target, False)
    with left:
        assert len(leftovers(target)) == 2 and left.path in leftovers(target)
    assert [path.name.startswith(".out.") for path in leftovers(target)] == [True]
    assert leftovers(tmp_path / "nowhere" / "out.mp4") == []


def after_frames(count: int, act: Callable[[], None]) -> Callable[..., Nearest]:
    """Engines that do something when they are given frame number ``count``."""

    class Acting(Nearest):
        seen = 0

        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            self.seen += 1
            if self.seen == count:
                act()
            super()._run(luma, out)

    return Acting


def test_cancelling_leaves_nothing(clip: Clip, tmp_path: Path) -> None:
    cancel = threading.Event()
    path = clip("a.mp4", audio=1, pts=range(0, 40 * 512, 512))
    fails(Cancelled, "cancelled", tmp_path, path=path, cancel=cancel, engines=after_frames(10, cancel.set))


def test_a_failing_engine_leaves_nothing(clip: Clip, tmp_path: Path) -> None:
    def fail() -> None:
        raise EngineError("out of luck")

    path = clip("a.mp4", audio=1, pts=range(0, 40 * 512, 512))
    fails(EngineError, "out of luck", tmp_path, path=path, engines=after_frames(10, fail))


@pytest.mark.parametrize("moment", [Started, Progress])
def test_an_interrupt_leaves_nothing(
    clip: Clip, tmp_path: Path, moment: type[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vsr.pipeline, "_PROGRESS_S", 0)
    path = clip("a.mp4")
    before = existing(tmp_path)

    def interrupt(event: Event) -> None:
        if isinstance(event, moment):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale(path, on_event=interrupt)
    assert existing(tmp_path) == before


def test_a_full_disk_leaves_nothing(clip: Clip, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    path = clip("a.mp4", audio=1, size=(96, 64), pts=range(0, 60 * 512, 512))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        fails(OutputError, r"a_x2\.mp4 cannot be written", tmp_path, path=path, crf=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_picture_beyond_the_encoder_is_refused(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", codec="ffv1", size=(9000, 16), time_base=Fraction(1, 1000), pts=range(2))
    says = r"a_x4\.mkv: h264 cannot encode pictures of 36000x64 .*; choose another codec or a smaller size"
    fails(OutputError, says, tmp_path, path=path, scale=4)


def test_a_source_that_changes_its_size_midway_is_brought_to_the_first(clip: Clip, tmp_path: Path) -> None:
    timing = {"codec": "mpeg1video", "time_base": Fraction(1, 25), "pts": range(9)}
    joined = tmp_path / "joined.mpg"
    joined.write_bytes(clip("a.mpg", **timing).read_bytes() + clip("b.mpg", size=(96, 64), **timing).read_bytes())
    events: list[Event] = []
    done = upscale(joined, on_event=events.append)
    assert done.frames == 17  # FFmpeg loses the picture that its decoder holds back where another sequence begins
    assert "changed" in [event.code for event in events if isinstance(event, Warned)]
    with Decoder(done.output) as result:
        assert {frame.luma.shape for frame in result if isinstance(frame, Frame)} == {(64, 96)}


def test_a_file_that_is_cut_short_gives_what_it_holds_and_a_warning(clip: Clip, tmp_path: Path) -> None:
    whole, path = clip("whole.mp4", pts=range(0, 60 * 512, 512), muxer_options=FAST), tmp_path / "a.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    events: list[Event] = []
    done = upscale(path, on_event=events.append)
    assert 20 < done.frames < 60
    warned = [event for event in events if isinstance(event, Warned)]
    assert [event.code for event in warned] == ["damaged"]
    assert f"{done.frames} of 60 frames" in warned[0].message


def test_jobs_that_run_together_are_alike(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4")
    job = Job(path, model="bicubic", preset="ultrafast")
    for jobs in ([], [job, replace(job, deinterlace="off")], [job, Job(path.with_suffix(".png"))]):
        with pytest.raises(ValueError, match="read the same frames"):
            run_together(jobs)
    with pytest.raises(OutputError, match="another input or output"):
        run_together([job, job])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]


def test_of_outputs_that_run_together_the_good_ones_are_kept(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify_wrongly(path: Path, written: Any, *rest: Any) -> list[Check]:
        return [*verify(path, written, *rest), Check("luck", written.width != 144, True, False)]

    monkeypatch.setattr(vsr.pipeline, "verify", verify_wrongly)
    jobs = [Job(clip("a.mp4"), scale=scale, model="bicubic") for scale in (2, 3, 4)]
    with pytest.raises(CheckError, match="luck"):
        run_together(jobs)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.mp4", "a_x2.mp4", "a_x3.failed-check.mp4", "a_x4.mp4"]  # fmt: skip


def test_a_job_that_is_cancelled_at_once_begins_nothing(clip: Clip, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    events: list[Event] = []
    fails(Cancelled, "cancelled", tmp_path, path=clip("a.mp4"), cancel=cancel, on_event=events.append)
    assert not events


def test_upscaled_frames_are_kept_no_longer_than_needed(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    class Counted(Upscaler):
        def begin(self, frame: Frame) -> Callable[[], Frame]:
            finish = super().begin(frame)

            def finished() -> Frame:
                big = finish()
                made.append(weakref.ref(big.luma if big.luma.base is None else big.luma.base))
                alive.append(sum(luma() is not None for luma in made))
                return big

            return finished

    monkeypatch.setattr(vsr.pipeline, "Upscaler", Counted)
    upscale(clip("a.mp4", pts=range(0, 300 * 512, 512)), depth=2)
    assert max(alive[100:]) <= 2 + 2 + 2  # in the queue, in work on both of its sides, and for good measure


def test_the_estimate_of_a_cut_is_of_the_cut(clip: Clip) -> None:
    path = clip("a.mp4", audio=1, pts=range(0, 500 * 512, 512))
    events: list[Event] = []
    done = upscale(path, on_event=events.append, cut=Cut(Fraction(2), Fraction(6)))
    started = next(event for event in events if isinstance(event, Started))
    size = done.output.stat().st_size
    assert started.frames is not None and abs(started.frames - done.frames) <= 2
    assert started.estimate is not None and size / 2 < started.estimate.bytes < 2 * size


def test_a_pause_stands_still_and_can_be_cancelled(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause, cancel = threading.Event(), threading.Event()
    pause.set()
    timers = [threading.Timer(0.3, pause.clear), threading.Timer(0.2, cancel.set)]
    timers[0].start()
    paused: list[bool] = []  # while a frame was done
    monkeypatch.setattr(vsr.pipeline, "_PROGRESS_S", 0)
    upscale(clip("a.mp4"), pause=pause, cancel=cancel,
            on_event=lambda event: paused.append(pause.is_set()) if isinstance(event, Progress) else None)
    assert paused and not any(paused)
    pause.set()
    timers[1].start()
    fails(Cancelled, "cancelled", tmp_path, path=clip("b.mp4"), pause=pause, cancel=cancel)
    for timer in timers:
        timer.join()


def test_a_failed_check_keeps_the_file_under_another_name(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify_wrongly(*args: Any) -> list[Check]:
        return [*verify(*args), Check("luck", False, "good", "bad")]

    monkeypatch.setattr(vsr.pipeline, "verify", verify_wrongly)
    path = clip("a.mp4")
    with pytest.raises(CheckError, match="luck is bad, not good"):
        upscale(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "a_x2.failed-check.mp4"]
    assert len(times(tmp_path / "a_x2.failed-check.mp4")) == 12


def test_the_check_sees_what_is_missing_or_moved(clip: Clip) -> None:
    path = clip("a.mp4", audio=1)
    written: list[tuple[Any, ...]] = []

    def watched(*args: Any) -> list[Check]:
        written.append(args[1:3])
        return verify(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vsr.pipeline, "verify", watched)
        done = upscale(path)
    what, info = written[0]

    def wrong() -> set[str]:
        return {check.name for check in verify(done.output, what, info) if not check.ok}

    assert wrong() == set()
    what.tracks[0].last += 4800
    assert wrong() == {"duration_s"}
    what.tracks[0].last -= 4800
    what.pts.append(what.pts[-1] + 512)
    assert wrong() >= {"frames", "timestamps"}
    what.pts.pop()
    what.pts[3] += 1
    assert wrong() == {"timestamps"}
    what.pts[3] -= 1
    what.tracks[0].packets += 1
    what.tracks[0].bytes += 1
    assert wrong() == {"audio 1"}
    what.tracks[0].packets -= 1
    what.tracks[0].first += 480
    assert wrong() >= {"audio 1 offset_ms"}
    what.tracks[0].first -= 480
    info = replace(info, rotation_degrees=90)
    what.promised = replace(info, color=replace(info.color, space=9), light=(1000, 400))
    assert wrong() == {"rotation_degrees", "color_space", "content_light"}


def test_a_file_that_cannot_be_decoded_again_fails_the_check(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> list[Check]:
        raise av.error.InvalidDataError(1, "bad bytes")

    monkeypatch.setattr(vsr.pipeline, "verify", fail)
    with pytest.raises(CheckError, match="bad bytes"):
        upscale(clip("a.mp4"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "a_x2.failed-check.mp4"]


def test_a_name_too_long_for_the_output_is_refused(clip: Clip, tmp_path: Path) -> None:
    path = clip("x" * 250 + ".mp4")
    fails(OutputError, "too long", tmp_path, path=path)


def test_tags_of_the_source_s_container_are_left_behind_in_capitals_too(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", metadata={"MAJOR_BRAND": "isom", "ARTIST": "someone"})
    with av.open(str(path)) as container:
        assert container.metadata["MAJOR_BRAND"] == "isom"
    with av.open(str(upscale(path).output)) as container:
        assert set(container.metadata) == {"ARTIST", "ENCODER"}


# ---- real clips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("androidx-media/bt601.mov", 30),
        ("androidx-media/bear-vp9-odd-dimensions.webm", 30),
        ("androidx-media/sample_with_chapters.mp4", 30),
        ("androidx-media/sample_rotate_and_reflect.mp4", 30),
        ("androidx-media/sample_h264_mpeg_audio.ts", 3),
        ("androidx-media/sample_with_invalid_nalu.mp4", 29),
        ("androidx-media/sample.avi", 96),
        ("androidx-media/water_180_mvhevc_5frames.mov", 5),
        ("decord/unordered.mov", 4),
        ("torchcodec/test_non_zero_start.mp4", 12),
        ("torchcodec/testsrc2_12bit_hdr.mp4", 60),
        ("torchcodec/animated.gif", 4),
        ("streamio-ffmpeg/awesome'movie.mov", 123),
    ],
)
def test_real_clips(data: Path, tmp_path: Path, name: str, frames: int) -> None:
    path = data / "video" / name
    done = upscale(path, output=tmp_path)
    assert done.frames == frames
    assert all(check.ok for check in done.checks)
    if done.output.suffix == path.suffix:
        assert times(done.output) == times(path)
