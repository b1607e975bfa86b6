"""The streams that are not upscaled: what of them arrives, in which form, and what is said of the rest."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import av
import pytest
from conftest import Clip

from vsr.media.codecs import EncoderSettings
from vsr.media.decode import Decoder
from vsr.media.encode import Encoder
from vsr.media.probe import probe
from vsr.media.verify import Check, verify

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}


def remux(path: Path, *targets: Path) -> tuple[list[list[Check]], list[tuple[str, str]]]:
    """``path`` decoded once and written to every target, not upscaled: the failed checks, and the warnings."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(Decoder(path))
        size = source.info.width, source.info.height
        outputs = []
        for target in targets:
            settings = EncoderSettings("vp9" if target.suffix == ".webm" else "h264", preset="ultrafast")
            outputs.append(stack.enter_context(Encoder(target, CONTAINERS[target.suffix], source, *size, settings)))
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
    assert len(warnings) == 2 and all(code == "dropped_stream" for code, _ in warnings)  # AAC, in WebM only


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


def with_subtitles(clip: Clip, tmp_path: Path, text: str, suffix: str) -> Path:
    """A clip of 4 s as Matroska with these subtitles."""
    plain, path, texts = clip("p.mp4", pts=range(0, 100 * 512, 512)), tmp_path / "a.mkv", tmp_path / f"texts{suffix}"
    texts.write_text(text, "utf-8")
    with av.open(str(plain)) as source, av.open(str(texts)) as lines, av.open(str(path), "w") as out:
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
