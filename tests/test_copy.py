"""The streams that are not upscaled: what of them arrives, in which form, and what is said of the rest."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
from conftest import Clip

from vsr.media.codecs import EncoderSettings
from vsr.media.decode import Decoder
from vsr.media.encode import Encoder
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
