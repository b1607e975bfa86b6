"""The streams that are not upscaled: what of them arrives, in which form, and what is said of the rest."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from conftest import Clip

import vsr.media.copy
from vsr.errors import OutputError
from vsr.media.codecs import EncoderSettings
from vsr.media.copy import describe, only_in_matroska, unheld
from vsr.media.cut import Cut
from vsr.media.decode import Decoder
from vsr.media.encode import Encoder
from vsr.media.probe import probe
from vsr.media.sound import SoundConverter
from vsr.media.verify import Check, verify
from vsr.size import Resolution

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}


def remux(
    path: Path, *targets: Path, cut: Cut | None = None, preset: str = "ultrafast"
) -> tuple[list[list[Check]], list[tuple[str, str]]]:
    """``path`` decoded once and written to every target, not upscaled: the failed checks, and the warnings."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(Decoder(path, cut))
        size = source.info.width, source.info.height
        outputs = []
        for target in targets:
            settings = EncoderSettings("vp9" if target.suffix == ".webm" else "h264", preset=preset)
            resolution = Resolution(2, *size, None)
            encoder = Encoder(target, CONTAINERS[target.suffix], source, resolution, settings)
            outputs.append(stack.enter_context(encoder))
        for item in source:
            for output in outputs:
                output.write(item)
        for output in outputs:
            output.finish()
        checks = [verify(target, output.written, source.info) for target, output in zip(targets, outputs, strict=True)]
    warnings = [warning for output in outputs for warning in output.warnings]
    return [[check for check in of_one if not check.ok] for of_one in checks], warnings


def packets(path: Path, kind: str) -> list[list[tuple[float, bytes]]]:
    """(time in seconds to the 10 us, bytes) of every packet, for each stream of that kind."""
    found: dict[int, list[tuple[float, bytes]]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.stream.type == kind and packet.size:
                time = round(float(packet.pts * packet.time_base), 5)
                found.setdefault(packet.stream.index, []).append((time, bytes(packet)))
    return [found[index] for index in sorted(found)]


def test_outputs_of_one_decoder_get_the_same_packets(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4", audio=2)
    targets = [tmp_path / name for name in ("b.mkv", "c.mp4", "d.webm", "e.mp4")]
    failed, warnings = remux(path, *targets)
    assert not any(failed)
    assert packets(targets[1], "audio") == packets(targets[3], "audio") == packets(path, "audio")
    assert [[data for _, data in track] for track in packets(targets[0], "audio")] == [
        [data for _, data in track] for track in packets(path, "audio")]  # fmt: skip
    assert [code for code, _ in warnings] == ["converted_stream"] * 2  # AAC, in WebM only


SRT = """1
00:00:00,100 --> 00:00:02,000
<i>Hello</i> there
zweite Zeile – 題名 {no tag}, a < b & c

2
00:00:01,000 --> 00:00:01,500
over

3
00:00:01,000 --> 00:00:01,600
same start

4
00:00:02,500 --> 00:00:03,000
next

5
00:00:03,000 --> 00:00:03,400
at once <b>after</b>
"""
# What is to be read, and when: (begin, end, lines in ms).
EVENTS = [
    (100, 2000, "Hello there\nzweite Zeile – 題名 {no tag}, a < b & c"),
    (1000, 1500, "over"), (1000, 1600, "same start"), (2500, 3000, "next"), (3000, 3400, "at once after"),
]  # fmt: skip


def with_subtitles(clip: Clip, tmp_path: Path, text: str, suffix: str, **more: int) -> Path:
    """A clip of 4 s as Matroska with these subtitles."""
    plain, path = clip("p.mkv", pts=range(0, 4000, 40), time_base=Fraction(1, 1000), **more), tmp_path / "a.mkv"
    texts = tmp_path / f"texts{suffix}"
    texts.write_text(text, "utf-8")
    with av.open(str(plain)) as source, av.open(str(texts)) as lines, av.open(str(path), "w") as out:
        out.set_chapters(source.chapters())
        streams = {s: out.add_stream_from_template(s, opaque=True) for s in (*source.streams, *lines.streams)}
        streams[lines.streams[0]].metadata.update(language="ger", title="Alle Zeilen")
        for packet in [*source.demux(), *lines.demux()]:
            if packet.size:
                packet.stream = streams[packet.stream]
                out.mux(packet)
    return path


def events(path: Path) -> list[tuple[int, int, str]]:
    """(begin, end in ms, text) of what the first subtitle stream shows."""
    shown = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        for packet in container.demux(stream):
            lines = [rect.ass.decode().split(",", 8)[8] for rect in stream.decode2(packet) or ()] if packet.size else []
            text = r"\N".join(lines).replace(r"\{{}", "{").replace(r"\N", "\n")  # how FFmpeg quotes a brace
            text = re.sub(r"\{\\[^}]*\}", "", text).strip()
            if text:
                begin = packet.pts * packet.time_base * 1000
                shown.append((round(begin), round(begin + packet.duration * packet.time_base * 1000), text))
    return shown


def read_at(shown: list[tuple[int, int, str]], ms: int) -> list[str]:
    return [line for begin, end, text in shown if begin <= ms < end for line in text.split("\n")]


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.webm", "b.mkv"])
def test_texts_are_read_at_the_same_times_in_every_container(clip: Clip, tmp_path: Path, name: str) -> None:
    path, target = with_subtitles(clip, tmp_path, SRT, ".srt"), tmp_path / name
    failed, warnings = remux(path, target)
    assert not failed[0] and not warnings
    shown = events(target)
    for ms in range(0, 4000, 10):
        assert read_at(shown, ms) == read_at(EVENTS, ms), f"at {ms} ms"
    if name in ("b.webm", "b.mkv"):
        assert shown == EVENTS
    track = next(s for s in probe(target).streams if s.type == "subtitle")
    expected = {"b.webm": "webvtt", "b.mkv": "subrip"}.get(name, "mov_text")
    assert (track.codec, track.language) == (expected, "ger")

    # And back again.
    back = tmp_path / "back.mkv"
    failed, _ = remux(target, back)
    assert not failed[0]
    for ms in range(0, 4000, 10):
        assert read_at(events(back), ms) == read_at(EVENTS, ms), f"at {ms} ms"
    with av.open(str(back)) as container:
        styled = b"".join(bytes(p) for p in container.demux(container.streams.subtitles[0]))
    assert b"<i>Hello</i>" in styled


def test_ffmpeg_reads_the_same_texts(clip: Clip, tmp_path: Path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if not ffmpeg:
        pytest.skip("no ffmpeg here")
    path, target = with_subtitles(clip, tmp_path, SRT, ".srt"), tmp_path / "b.mp4"
    remux(path, target)
    command = [ffmpeg, "-v", "error", "-i", str(target), "-map", "0:s:0", "-f", "srt", "-"]
    said = subprocess.run(command, capture_output=True, check=True).stdout.decode().replace("\r", "")
    blocks = [block.split("\n", 2)[1:] for block in said.strip().split("\n\n")]
    assert blocks[0] == ["00:00:00,100 --> 00:00:01,000", "<i>Hello</i> there\nzweite Zeile – 題名 {no tag}, a < b & c"]
    assert blocks[1][0] == "00:00:01,000 --> 00:00:01,500" and blocks[1][1].endswith("over\nsame start")
    assert [block[0][:12] for block in blocks] == [
        "00:00:00,100", "00:00:01,000", "00:00:01,500", "00:00:01,600", "00:00:02,500", "00:00:03,000"]  # fmt: skip


FLAGS = Disposition.forced | Disposition.hearing_impaired


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4", "b.mov", "b.webm"])
def test_names_languages_and_dispositions_are_kept(clip: Clip, tmp_path: Path, name: str) -> None:
    texts = with_subtitles(clip, tmp_path, SRT, ".srt", audio=2)
    path, target = tmp_path / "labelled.mkv", tmp_path / name
    with av.open(str(texts)) as source, av.open(
        str(path), "w", container_options={"default_mode": "passthrough"}
    ) as out:  # fmt: skip
        streams = {s: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        for stream, copy in streams.items():
            language = ("und", "eng", "spa", "ger")[stream.index]
            copy.metadata.update(title=f"No. {stream.index} – 題名", language=language)
        streams[source.streams[0]].metadata["stereo_mode"] = "left_right"
        streams[source.streams[2]].disposition = Disposition.default
        streams[source.streams[3]].disposition = FLAGS
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream]
                out.mux(packet)
    failed, warnings = remux(path, target)
    assert not failed[0]
    if name == "b.webm":  # it has no AAC
        assert [code for code, _ in warnings] == ["converted_stream"] * 2
    with av.open(str(target)) as container:
        kept = {s.type + str(i): s for i, s in enumerate(container.streams) if s.type in ("video", "audio", "subtitle")}
        named = {s.metadata.get("title") or s.metadata.get("name"): s for s in kept.values()}
        assert set(named) == {f"No. {i} – 題名" for i in range(4)}
        texts_out = named["No. 3 – 題名"]
        assert texts_out.language == "ger"
        if name in ("b.mkv", "b.webm"):
            assert texts_out.disposition & FLAGS == (FLAGS if name == "b.mkv" else Disposition.forced)
            assert container.streams[0].metadata["stereo_mode"] == "left_right"
        assert named["No. 2 – 題名"].language == "spa"
        assert [bool(named[f"No. {i} – 題名"].disposition & 1) for i in (1, 2)] == [False, True]


def test_covers_and_fonts(clip: Clip, tmp_path: Path) -> None:
    """Each in the way of its container: a cover is metadata in MPEG-4 and an attachment in Matroska."""
    plain, path = clip("plain.mkv", pts=range(7000, 8000, 40), time_base=Fraction(1, 1000)), tmp_path / "a.mkv"
    jpeg = av.CodecContext.create("mjpeg", "w")
    jpeg.width, jpeg.height, jpeg.pix_fmt, jpeg.time_base = 16, 16, "yuvj420p", Fraction(1)
    cover = bytes(next(iter(jpeg.encode(av.VideoFrame(16, 16, "yuvj420p")) + jpeg.encode(None))))
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for number in (1, 2):
            out.add_attachment(f"side {number}.jpg", "image/jpeg", cover)
        out.add_attachment("font.ttf", "font/ttf", b"glyphs")
        for packet in source.demux():
            if packet.size:
                packet.stream = video
                out.mux(packet)
    targets = [tmp_path / name for name in ("b.mkv", "b.mp4", "b.mov", "b.avi")]
    failed, warnings = remux(path, *targets[:3])
    assert not any(failed)
    assert [message.split(": ")[1] for _, message in warnings] == [
        "attachment #3 (font.ttf) is left out",
        "cover stream #1 (mjpeg) is left out", "cover stream #2 (mjpeg) is left out",
        "attachment #3 (font.ttf) is left out",
    ]  # fmt: skip
    with av.open(str(targets[0])) as container:
        names = [{k.lower(): v for k, v in s.metadata.items()}.get("filename") for s in container.streams]
        assert sorted(filter(None, names)) == ["font.ttf", "side 1.jpg", "side 2.jpg"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_timecode_is_kept_as_a_track_or_a_tag(clip: Clip, tmp_path: Path, name: str) -> None:
    path = clip(name, pts=range(0, 25 * 512, 512), metadata={"timecode": "01:02:03:04"})
    targets = [tmp_path / name for name in ("b.mkv", "b.mp4", "b.mov")]
    failed, warnings = remux(path, *targets)
    assert not any(failed) and not warnings
    back = tmp_path / "back.mov"
    failed, warnings = remux(targets[0], back)
    assert not any(failed) and not warnings
    for target in (path, *targets, back):
        with av.open(str(target)) as container:
            tags = {key.lower(): value for key, value in container.streams[0].metadata.items()}
            assert tags["timecode"] == "01:02:03:04", target
            assert [s.type for s in container.streams] == ["video", "data"][: 1 + (target.suffix != ".mkv")]


def test_what_only_matroska_holds_is_told(data: Path) -> None:
    with Decoder(data / "video/androidx-media/sample_with_pgs_subtitles.mkv") as source:
        assert [describe(stream) for stream in unheld("mp4", source)] == ["subtitle stream #2 (hdmv_pgs_subtitle)"]
        assert only_in_matroska("mp4", source) == unheld("mp4", source) and not unheld("matroska", source)
        assert len(unheld("webm", source)) == 2
    with Decoder(data / "video/streamio-ffmpeg/ios9.mov") as source:
        assert len(unheld("mov", source)) == 2 and not only_in_matroska("mov", source)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("torchcodec/nasa_13013.mp4", {"video": 2, "audio": 2, "subtitle": 2}),
        ("mediainfo.js/many_tracks.mp4", {"video": 1, "subtitle": 100}),
        ("androidx-media/sample_with_vobsub.mp4", {"video": 1, "audio": 1, "subtitle": 1}),
        ("androidx-media/sample_with_pgs_subtitles.mkv", {"video": 1, "audio": 1, "subtitle": 1}),
        ("androidx-media/sample_with_overlapping_srt.mkv", {"video": 1, "audio": 1, "subtitle": 1}),
        ("androidx-media/sample_with_null_terminated_ssa_subtitles.mkv", {"video": 1, "audio": 1, "subtitle": 1}),
        ("androidx-media/sample_with_chapters.mp4", {"video": 1, "audio": 1}),
    ],
)
def test_streams_of_real_clips(data: Path, tmp_path: Path, name: str, counts: dict[str, int]) -> None:
    """Through Matroska, which holds all of them, as ffprobe sees it."""
    ffprobe = shutil.which("ffprobe")
    if not ffprobe:
        pytest.skip("no ffprobe here")
    path, target = data / "video" / name, tmp_path / "b.mkv"
    failed, warnings = remux(path, target)
    assert not failed[0] and not warnings
    command = [ffprobe, "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", str(target)]
    kinds = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert Counter(kinds) == counts


def test_bad_texts_are_told_and_left_out(clip: Clip, tmp_path: Path) -> None:
    long = "1\n00:00:00,100 --> 00:00:01,000\n" + "x" * 70000 + "\n\n2\n00:00:02,000 --> 00:00:03,000\nshort\n"
    path = with_subtitles(clip, tmp_path, long, ".srt")
    failed, warnings = remux(path, tmp_path / "b.mp4")
    assert not failed[0]
    assert [code for code, _ in warnings] == ["converted_stream"] and "left out as mov_text" in warnings[0][1]
    assert events(tmp_path / "b.mp4") == [(2000, 3000, "short")]


def test_lost_styles_are_told(clip: Clip, tmp_path: Path) -> None:
    text = "1\n00:00:00,100 --> 00:00:01,000\n{\\an8}top\n\n2\n00:00:02,000 --> 00:00:03,000\n{\\an8}again\n"
    path = with_subtitles(clip, tmp_path, text, ".srt")
    _, warnings = remux(path, tmp_path / "b.mp4")
    said = f"{path}: subtitle stream #1 (subrip) loses positions and colours as mov_text"
    assert warnings == [("converted_stream", said)]


def sound_of(path: Path) -> tuple[float, np.ndarray]:
    """(begin in seconds from the first frame, samples of the first channel from -1 to 1) of the first sound."""
    with av.open(str(path)) as container:
        picture = next(p.pts * p.time_base for p in container.demux(video=0) if p.pts is not None)
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        assert frames[0].pts is not None and frames[0].time_base is not None
        begin = float(frames[0].pts * frames[0].time_base - picture)
        resampler = av.AudioResampler(format="fltp")
        blocks = [made.to_ndarray()[0] for frame in frames for made in resampler.resample(frame)]
    return begin, np.clip(np.concatenate(blocks), -1, 1)


@pytest.mark.parametrize(
    ("codec", "name", "made"),
    [("adpcm_ima_wav", "b.mp4", "flac"), ("libopus", "b.mov", "pcm_f32le"),
     ("flac", "b.mov", "pcm_s16le"), ("libopus", "b.avi", "pcm_f32le"), ("aac", "b.webm", "opus"),
     ("adpcm_ima_wav", "b.avi", "pcm_s16le"), ("pcm_s16le", "b.mp4", "flac"), ("pcm_f32le", "b.mp4", "flac")],
)  # fmt: skip
def test_sound_that_does_not_fit_is_encoded_again(
    clip: Clip, tmp_path: Path, codec: str, name: str, made: str
) -> None:
    if codec == "adpcm_ima_wav" or name == "b.avi":
        source = "a.avi" if codec == "adpcm_ima_wav" else "a.mkv"
        path = clip(source, time_base=Fraction(1, 25), pts=range(50), audio=1, audio_codec=codec, codec="mpeg4")
    else:
        path = clip("a.mkv", time_base=Fraction(1, 1000), pts=range(1000, 3000, 40), audio=1, audio_codec=codec,
                    audio_start_s=Fraction(5, 4))  # fmt: skip
    targets = [tmp_path / name, tmp_path / f"twin-{name}"]
    failed, warnings = remux(path, *targets)
    assert not any(failed)
    if name == "b.avi" and codec != "adpcm_ima_wav":  # whose source is AVI too
        warnings = [(code, message) for code, message in warnings if code != "metadata"]  # it has no languages
    assert [code for code, _ in warnings] == ["converted_stream"] * 2 and "is encoded again" in warnings[0][1]
    tracks = [next(s for s in probe(target).streams if s.type == "audio") for target in targets]
    assert [track.codec for track in tracks] == [made] * 2
    assert packets(targets[0], "audio") == packets(targets[1], "audio")
    (before, wanted), (after, got) = sound_of(path), sound_of(targets[0])
    if name != "b.avi":  # which has no times of its own for sound
        assert after == pytest.approx(before, abs=0.0015)  # Matroska counts milliseconds
    length = min(len(wanted), len(got)) - 2048
    assert abs(len(wanted) - len(got)) < 4096 and length > 48000
    error = np.abs(wanted[2048:length] - got[2048:length]).max()
    assert error < (0.1 if made == "opus" else 2e-4)


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_a_packet_that_the_muxer_refuses_is_left_out(clip: Clip, tmp_path: Path, name: str) -> None:
    path, target = clip("a.ts", pts=range(0, 50 * 512, 512), audio=1), tmp_path / name
    data = bytearray(path.read_bytes())
    header = [match.start() for match in re.finditer(b"\xff\xf1", data)][4]  # of ADTS
    data[header + 2 : header + 6] = bytes(4)
    path.write_bytes(data)
    failed, warnings = remux(path, target)
    assert not failed[0]
    assert [(code, message.split(": ")[1]) for code, message in warnings] == [
        ("damaged", "audio stream #1 (aac) is damaged at 0.144 s; packets that cannot be copied are left out")
    ]
    (before,), (after,) = packets(path, "audio"), packets(target, "audio")
    assert len(before) - 3 <= len(after) < len(before)


def test_a_muxer_is_not_asked_for_ever(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[av.Packet] = []
    monkeypatch.setattr(vsr.media.copy, "_HOPELESS", 3)
    monkeypatch.setattr(vsr.media.copy._Rehearsal, "_is_read_again", lambda self, packet: bool(tried.append(packet)))
    with av.open(str(clip("a.mp4", audio=1))) as source:
        sound = source.streams.audio[0]
        rehearsal = vsr.media.copy._Rehearsal("matroska", sound)
        packets = [packet for packet in source.demux(sound) if packet.size]
        assert not any(rehearsal.takes(packet) for packet in packets)
    assert len(packets) > len(tried) == 4


def test_sound_of_which_a_container_can_make_nothing_is_left_out(clip: Clip, tmp_path: Path) -> None:
    """MPEG-4 describes AC-3 by its packets, and FFmpeg fails to only when the file is complete."""
    path = clip("a.mkv", time_base=Fraction(1, 1000), pts=range(0, 480, 40), audio=1, audio_codec="ac3")
    path.write_bytes(path.read_bytes().replace(b"\x0b\x77", bytes(2)))
    targets = [tmp_path / "b.mp4", tmp_path / "b.mkv"]
    failed, warnings = remux(path, *targets)
    assert not any(failed)
    assert [code for code, _ in warnings] == ["damaged", "dropped_stream"]
    assert "audio stream #1 (ac3) is left out" in warnings[1][1]
    assert packets(targets[1], "audio") and not packets(targets[0], "audio")


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_an_empty_stream_is_told_where_it_is_left_out(data: Path, tmp_path: Path, name: str) -> None:
    failed, warnings = remux(data / "video/androidx-media/sample_empty_track.mp4", tmp_path / name)
    assert not failed[0]
    said = [("dropped_stream", "video stream #1 (h264) is left out: it has no packets")]
    assert [(code, message.split(": ", 1)[1]) for code, message in warnings] == (said if name == "b.mp4" else [])


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_sound_that_nobody_hears_has_no_offset(clip: Clip, tmp_path: Path, name: str) -> None:
    """A file that breaks off after the packet that its edit list leaves out."""
    path = clip("a.mp4", audio=1, options={"bf": "2", "preset": "medium"}, muxer_options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        end = next(p.pos for p in container.demux(audio=0) if not p.is_discard)
    path.write_bytes(path.read_bytes()[:end])
    with av.open(str(path)) as container:
        assert [p.is_discard for p in container.demux(audio=0) if p.size] == [True]
    failed, _ = remux(path, tmp_path / name, preset="medium")
    assert not failed[0]


APPLE = {"com.apple.quicktime.make": "Apple", "com.apple.quicktime.location.ISO6709": "+40.6358-111.8084+1401.883/"}


@pytest.mark.parametrize(
    ("tags", "name", "lost"),
    [
        (APPLE | {"date": "2016"}, "b.mp4", ""),
        (APPLE | {"com.android.version": "13"}, "b.mov", ""),
        (APPLE, "b.avi", ", ".join(APPLE)),
        ({"title": "A clip", "artist": "N. N.", "comment": "no more"}, "b.mp4", ""),
        ({"title": "A clip", "com.android.version": "13"}, "b.mp4", "com.android.version"),
        ({"title": "A clip", "anything": "else"}, "b.mov", "anything"),
    ],
)
def test_metadata_are_kept_or_told(clip: Clip, tmp_path: Path, tags: dict[str, str], name: str, lost: str) -> None:
    """A title is where all players look for it, in MPEG-4's own atoms; what Apple and Android add has its full name."""
    path = clip("a.mov", metadata=tags, muxer_options={"movflags": "use_metadata_tags"}, audio=1)
    failed, warnings = remux(path, tmp_path / name)
    assert not failed[0]
    told = [message.rpartition(": ")[2] for code, message in warnings if code == "metadata" and "stream" not in message]
    assert told == ([lost] if lost else [])
    with av.open(str(tmp_path / name)) as container:
        kept = {key: value for key, value in container.metadata.items() if key in tags}
    assert kept == {key: value for key, value in tags.items() if key not in lost}
    if "title" in tags:
        assert ("©nam".encode("latin1")) in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["b.mov", "b.webm"])
def test_each_output_tells_of_damaged_sound(clip: Clip, tmp_path: Path, name: str) -> None:
    path = clip("a.mkv", time_base=Fraction(1, 1000), pts=range(0, 2000, 40), audio=1, audio_codec="flac")
    sounds = [data for _, data in packets(path, "audio")[0]]
    path.write_bytes(path.read_bytes().replace(sounds[5], bytes(len(sounds[5]))))
    targets = [tmp_path / name, tmp_path / f"twin-{name}"]
    failed, warnings = remux(path, *targets)
    assert not any(failed)
    assert sum("has damaged places, which are silent" in message for _, message in warnings) == 2
    assert packets(targets[0], "audio") == packets(targets[1], "audio")


def test_an_encoder_that_fails_is_no_damage_of_the_source(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip("a.mkv", time_base=Fraction(1, 1000), pts=range(0, 2000, 40), audio=1, audio_codec="flac")

    def fails(self: SoundConverter, frame: av.AudioFrame) -> list[av.AudioFrame]:
        raise av.error.ArgumentError(22, "no such sound")

    monkeypatch.setattr(SoundConverter, "_as_the_first", fails)
    with pytest.raises(OutputError, match="cannot be written"):
        remux(path, tmp_path / "b.mov")


def test_sound_whose_form_changes_midway_is_heard_to_its_end(tmp_path: Path) -> None:
    """48 kHz in stereo, then 24 kHz in mono, one after the other in a transport stream."""
    joined = tmp_path / "a.ts"
    with joined.open("wb") as file:
        for second, (rate, layout) in enumerate(((48000, "stereo"), (24000, "mono"))):
            part = tmp_path / f"{second}.ts"
            with av.open(str(part), "w") as out:
                video = out.add_stream("mpeg2video", rate=25)
                video.width, video.height = 48, 32
                sound = out.add_stream("mp2", rate=rate, layout=layout)
                for number in range(25 * second, 25 * second + 25):
                    picture = av.VideoFrame(48, 32, "yuv420p")
                    picture.pts, picture.time_base = number, Fraction(1, 25)
                    out.mux(video.encode(picture))
                    tone = 8000 * np.sin(np.arange(rate // 25) / rate * 2 * np.pi * 1000)
                    tone = np.repeat(tone, sound.layout.nb_channels).astype(np.int16)[None]
                    heard = av.AudioFrame.from_ndarray(tone, format="s16", layout=layout)
                    heard.pts, heard.sample_rate = number * (rate // 25), rate
                    heard.time_base = Fraction(1, rate)
                    out.mux(sound.encode(heard))
                for stream in (video, sound):
                    out.mux(stream.encode(None))
            file.write(part.read_bytes())
    failed, warnings = remux(joined, tmp_path / "b.webm")
    assert not failed[0] and [code for code, _ in warnings] == ["converted_stream"]
    _, samples = sound_of(tmp_path / "b.webm")
    assert len(samples) == pytest.approx(2 * 48000, abs=4800)
    loud = [np.sqrt((samples[at : at + 24000] ** 2).mean()) for at in (10000, 60000)]
    level = 8000 / 32768 / np.sqrt(2)
    assert loud == pytest.approx([level, level / np.sqrt(2)], rel=0.1)  # mono is as loud from two sides together


@pytest.mark.parametrize("cut", [None, Cut(Fraction(1), Fraction(2))])
def test_sound_in_packets_shorter_than_a_tick_keeps_its_time(clip: Clip, tmp_path: Path, cut: Cut | None) -> None:
    """TrueHD has 1200 packets a second, Matroska 1000 ticks; and not every packet can be the first."""
    ffmpeg = shutil.which("ffmpeg")  # PyAV's has no encoder for it
    if not ffmpeg:
        pytest.skip("no ffmpeg here")
    plain = clip("p.mkv", time_base=Fraction(1, 1000), pts=range(0, 4000, 40), audio=1, audio_codec="flac")
    path = tmp_path / "a.mkv"
    coding = ["-c:v", "copy", "-c:a", "truehd", "-strict", "-2"]
    subprocess.run([ffmpeg, "-v", "error", "-i", str(plain), *coding, str(path)], check=True)
    failed, warnings = remux(path, tmp_path / "b.mkv", cut=cut)
    assert not failed[0] and not warnings
    [wanted], [got] = packets(path, "audio"), packets(tmp_path / "b.mkv", "audio")
    if cut is not None:
        wanted = [(time - 1, data) for time, data in wanted if 1 <= time < 2]
        wanted = wanted[len(wanted) - len(got) :]
        assert wanted[0][0] < 0.11
    assert [data for _, data in got] == [data for _, data in wanted]
    assert np.abs([a - b for (a, _), (b, _) in zip(got, wanted, strict=True)]).max() < 0.0011


def samples_of(path: Path) -> np.ndarray:
    """The first sound as 16 bit, of the shape (samples, channels)."""
    resampler = av.AudioResampler(format="s16")  # PyAV cannot make an array of eight planes
    with av.open(str(path)) as container:
        count = container.streams.audio[0].channels
        blocks = [made.to_ndarray() for frame in container.decode(audio=0) for made in resampler.resample(frame)]
    return np.concatenate(blocks, 1).reshape(-1, count)


def with_layout(clip: Clip, tmp_path: Path, layout: str, channel: int, codec: str) -> Path:
    """A clip of 2 s as Matroska; only this channel of its sound is not silent."""
    plain, path = clip("p.mkv", pts=range(0, 2000, 40), time_base=Fraction(1, 1000)), tmp_path / "a.mkv"
    count = av.AudioLayout(layout).nb_channels
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0], opaque=True)
        sound = out.add_stream(codec, rate=48000, layout=layout)
        for packet in source.demux():
            if packet.size:
                packet.stream = video
                out.mux(packet)
        for start in range(0, 2 * 48000, 1000):
            samples = np.zeros((1000, count), np.int16)
            samples[:, channel] = np.sin((np.arange(1000) + start) * 0.01) * 10000
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    ("layout", "channel", "made", "heard"),
    [
        ("5.1(side)", 5, "5.1", "BR"), ("2.1", 2, "5.1", "LFE"), ("4.0", 2, "5.1", "FC"), ("5.0", 2, "5.1", "FC"),
        ("7.1(wide)", 2, "7.1", "FC"), ("6 channels", 5, "5.1", "BR"), ("12 channels", 1, "7.1", "FR"),
    ],
)  # fmt: skip
def test_every_channel_has_a_place_in_webm(
    clip: Clip, tmp_path: Path, layout: str, channel: int, made: str, heard: str
) -> None:
    codec = "pcm_s16le" if layout.endswith(" channels") else "flac"  # in Matroska, PCM does not name its channels
    path, target = with_layout(clip, tmp_path, layout, channel, codec), tmp_path / "b.webm"
    failed, warnings = remux(path, target)
    assert not failed[0] and [code for code, _ in warnings] == ["converted_stream"]
    with av.open(str(target)) as container:
        sound = container.streams.audio[0].layout
    assert sound.name == made
    loudest = int(np.abs(samples_of(target).astype(int)).mean(0).argmax())
    assert sound.channels[loudest].name == heard


@pytest.mark.parametrize("layout", ["2 channels", "6 channels", "5.1(side)", "mono"])
def test_pcm_becomes_flac_in_mp4(clip: Clip, tmp_path: Path, layout: str) -> None:
    path, target = with_layout(clip, tmp_path, layout, -1, "pcm_s16le"), tmp_path / "b.mp4"
    failed, warnings = remux(path, target)
    said = f"{path}: audio stream #1 (pcm_s16le) is encoded again as flac"
    assert not failed[0] and warnings == [("converted_stream", said)]
    assert np.array_equal(samples_of(path), samples_of(target))


@pytest.mark.parametrize(("name", "codec"), [("a.m2ts", "pcm_bluray"), ("a.vob", "pcm_dvd"), ("a.wmv", "wmav2")])
def test_sound_that_matroska_does_not_hold_becomes_flac(clip: Clip, tmp_path: Path, name: str, codec: str) -> None:
    ffmpeg = shutil.which("ffmpeg")  # PyAV's has not all the encoders
    if not ffmpeg:
        pytest.skip("no ffmpeg here")
    plain = clip("p.mkv", time_base=Fraction(1, 1000), pts=range(0, 2000, 40), audio=1, audio_codec="flac")
    path, target = tmp_path / name, tmp_path / "b.mkv"
    coding = ["-c:v", "mpeg2video", "-c:a", codec]
    subprocess.run([ffmpeg, "-v", "error", "-i", str(plain), *coding, str(path)], check=True)
    failed, warnings = remux(path, target)
    said = f"{path}: audio stream #1 ({codec}) is encoded again as flac"
    assert not failed[0] and warnings == [("converted_stream", said)]
    (_, wanted), (_, got) = sound_of(path), sound_of(target)
    assert len(wanted) == len(got) > 90000 and np.abs(wanted - got).max() < 2e-7  # 24 bits


def labelled(clip: Clip, tmp_path: Path, language: str, stereo_mode: str = "mono") -> Path:
    """A clip as Matroska with these tags of its sound and its picture."""
    plain, path = clip("p.mkv", pts=range(0, 480, 40), time_base=Fraction(1, 1000), audio=1), tmp_path / "labelled.mkv"
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        streams = {s: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        streams[source.streams[0]].metadata["stereo_mode"] = stereo_mode
        streams[source.streams[1]].metadata["language"] = language
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream]
                out.mux(packet)
    return path


@pytest.mark.parametrize(
    ("language", "codes"),
    [("fre", ("fra", "fre")), ("cze", ("ces", "cze")), ("rum", ("ron", "rum")), ("slo", ("slk", "slo")),
     ("deu", ("ger", "deu")), ("eng", ("eng", "eng")), ("hrv", ("hr ", "hrv")), ("swe", ("sve", "swe")),
     ("nob", (None, "nob")), ("en", (None, None))],
)  # fmt: skip
def test_languages_have_the_codes_of_their_containers(
    clip: Clip, tmp_path: Path, language: str, codes: tuple[str | None, str | None]
) -> None:
    """QuickTime's are few."""
    path, targets = labelled(clip, tmp_path, language), (tmp_path / "b.mov", tmp_path / "b.mp4")
    failed, warnings = remux(path, *targets)
    assert not any(failed)
    lost = [name for name, code in zip(("mov", "mp4"), codes, strict=True) if code is None]
    said = "has no place for these metadata of audio stream #1 (aac), which are dropped: language"
    assert warnings == [("metadata", f"{path}: {name} {said}={language}") for name in lost]
    for target, code in zip(targets, codes, strict=True):
        with av.open(str(target)) as container:
            assert container.streams.audio[0].metadata.get("language", "und") == (code or "und")
    if codes[0] is not None:  # and back again, by a code that all know
        failed, _ = remux(targets[0], tmp_path / "back.mkv")
        back = {"hr ": "hrv", "sve": "swe"}.get(codes[0], codes[0])
        assert not failed[0] and probe(tmp_path / "back.mkv").streams[1].language == back


def test_what_players_are_to_do_with_the_picture_is_told_where_it_is_lost(clip: Clip, tmp_path: Path) -> None:
    path = labelled(clip, tmp_path, "eng", "left_right")
    said = "has no place for these metadata of video stream #0 (h264), which are dropped: stereo_mode=left_right"
    for name in ("mp4", "mov"):
        assert remux(path, tmp_path / f"b.{name}") == ([[]], [("metadata", f"{path}: {name} {said}")])
    assert remux(path, tmp_path / "b.mkv") == ([[]], [])


@pytest.mark.parametrize("edges", ["8,4,8,4", "0,4,0,0", "0,0,2,0"])
def test_a_crop_that_players_make_is_told(clip: Clip, tmp_path: Path, edges: str) -> None:
    mkvmerge = shutil.which("mkvmerge")
    if not mkvmerge:
        pytest.skip("no mkvmerge here")
    plain, path = clip("a.mp4"), tmp_path / "a.mkv"
    subprocess.run([mkvmerge, "-q", "-o", str(path), "--cropping", f"0:{edges}", str(plain)], check=True)
    failed, warnings = remux(path, tmp_path / "b.mkv")
    said = "players are to crop the picture, and will not crop that of the output"
    assert not failed[0] and warnings == [("metadata", f"{path}: {said}")]


@pytest.mark.parametrize(
    ("codec", "suffix", "copied"),
    [("ac3", ".mkv", True), ("ac3", ".avi", False), ("aac", ".avi", False), ("libmp3lame", ".avi", True),
     ("pcm_s16le", ".avi", True), ("eac3", ".mkv", False), ("bytes", ".avi", False)],
)  # fmt: skip
def test_sound_has_its_speed_in_avi(clip: Clip, tmp_path: Path, codec: str, suffix: str, copied: bool) -> None:
    """What the muxer would count in units of another length is encoded again."""
    if codec == "bytes":  # as other programs write MP3 of a constant bit rate
        unit, lame = Fraction(1, 25), "libmp3lame"
        path = clip("a.avi", time_base=unit, pts=range(100), audio=1, audio_codec=lame, codec="mpeg4")
        data = bytearray(path.read_bytes())
        header = data.index(b"auds")
        with av.open(str(path)) as container:
            sizes = [packet.size for packet in container.demux(audio=0) if packet.size]
        rate = round(sum(sizes) / len(sizes) / 1152 * 48000)
        data[header + 20 : header + 28] = (1).to_bytes(4, "little") + rate.to_bytes(4, "little")
        data[header + 44 : header + 48] = (1).to_bytes(4, "little")  # bytes in a sample
        form = data.index(b"strf", header) + 8
        data[form + 12 : form + 14] = (1).to_bytes(2, "little")  # and in a block
        path.write_bytes(data)
    else:
        unit = Fraction(1, 25 if suffix == ".avi" else 1000)
        ticks = range(100) if suffix == ".avi" else range(0, 4000, 40)
        path = clip(f"a{suffix}", time_base=unit, pts=ticks, audio=1, audio_codec=codec, codec="mpeg4")
    failed, warnings = remux(path, tmp_path / "b.avi")
    assert not failed[0] and ("converted_stream" in [code for code, _ in warnings]) != copied
    (wanted,), (got,) = packets(path, "audio"), packets(tmp_path / "b.avi", "audio")
    assert got[-1][0] == pytest.approx(wanted[-1][0], abs=0.1) and got[-1][0] > 3.8
