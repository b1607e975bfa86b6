"""The command line as its users and scripts meet it: statuses, one line on stderr, JSON, and nothing left behind."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import pytest
from conftest import Clip

from vsr.cli import main, signals_cancel
from vsr.display import Plain
from vsr.events import Done
from vsr.models.catalogue import assets_dir, random_weights, save_file
from vsr.quality.metrics import psnr, to_bytes
from vsr.quality.protocol import imresize

SAMPLE = assets_dir() / "sample.mp4"


def packets(path: Path, kind: str) -> list[tuple[int | None, bytes]]:
    """(pts, bytes) of all packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [(packet.pts, bytes(packet)) for packet in container.demux(stream) if packet.size]


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    """(time in seconds, luma) of all frames."""
    with av.open(str(path)) as container:
        return [(float(frame.pts * frame.time_base), frame.to_ndarray(format="gray")[:] if frame.format.name == "gray"
                 else np.array(frame.to_ndarray()[:frame.height])) for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def upscaled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    """The sample through the whole of `vsr upscale --progress json`, and the events it printed."""
    out = tmp_path_factory.mktemp("sample") / "big.mp4"
    run = subprocess.run([sys.executable, "-m", "vsr", "upscale", str(SAMPLE), "-o", str(out), "--progress", "json"],
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return out, [json.loads(line) for line in run.stdout.splitlines()]


def test_the_sample_keeps_every_frame_and_its_sound(upscaled: tuple[Path, list[dict[str, object]]]) -> None:
    out, _ = upscaled
    before, after = pictures(SAMPLE), pictures(out)
    assert len(after) == len(before) > 50
    assert [when for when, _ in after] == [when for when, _ in before]
    assert after[0][1].shape == tuple(2 * side for side in before[0][1].shape)
    assert packets(out, "audio") == packets(SAMPLE, "audio")
    with av.open(str(SAMPLE)) as source, av.open(str(out)) as made:
        assert [c["metadata"] for c in made.chapters()] == [c["metadata"] for c in source.chapters()] != []
        assert made.metadata["title"] == source.metadata["title"]


def test_the_sample_measures_above_bicubic(upscaled: tuple[Path, list[dict[str, object]]],
                                           make_sample: ModuleType) -> None:
    """Against the original from which the sample was shrunk, decoded from the file that the job wrote."""
    out, _ = upscaled
    small, big = pictures(SAMPLE), pictures(out)
    gains = []
    for index in range(0, len(small), len(small) // 4):
        truth = make_sample.original_luma(index)
        gains.append(psnr(big[index][1], truth) - psnr(to_bytes(imresize(small[index][1], 2)), truth))
    assert min(gains) > 0.3, gains


@pytest.fixture(scope="module")
def make_sample() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("make_sample", Path(__file__).parents[1] / "assets/make_sample.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_events_of_a_job(upscaled: tuple[Path, list[dict[str, object]]]) -> None:
    out, events = upscaled
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start" and kinds[-1] == "done" and "progress" in kinds
    assert all(event["v"] == 1 and event["input"] == str(SAMPLE) for event in events)
    start, done = events[0], events[-1]
    assert set(start) >= {"output", "width", "height", "scale", "model", "engine", "precision", "codec", "frames",
                          "estimate"}
    assert (start["width"], start["height"], start["scale"]) == (1280, 720, 2)
    last = [event for event in events if event["event"] == "progress"][-1]
    assert {"frame", "frames", "fps", "eta_s", "stage_ms", "bottleneck", "reused"} <= set(last)
    assert set(last["stage_ms"]) == {"decode", "upscale", "encode"} and last["bottleneck"] in last["stage_ms"]  # type: ignore[call-overload,operator]
    assert done["output"] == str(out) and done["frames"] == last["frame"] == len(pictures(SAMPLE))
    assert done["checks"] and all(check["ok"] for check in done["checks"])  # type: ignore[union-attr,attr-defined]


@pytest.mark.parametrize(("arguments", "status", "words"), [
    ([], 2, "required"),
    (["nonesuch"], 2, "nonesuch"),
    (["upscale"], 2, "required"),
    (["upscale", "{clip}", "--frobnicate"], 2, "--frobnicate"),
    (["upscale", "{clip}", "-s", "5"], 2, "5"),
    (["compare", "{clip}", "-s", "0", "-o", "{tmp}/both.png"], 2, "0"),
    (["upscale", ""], 2, "no name"),
    (["upscale", "https://example.org/a.mp4"], 2, "download"),
    (["probe", "{clip}", "more"], 2, "more"),
    (["upscale", "{clip}", "-s", "two"], 2, "two"),
    (["upscale", "{clip}", "-s", "2,2"], 2, "2,2"),
    (["upscale", "{clip}", "-s", "2,7"], 2, "7"),
    (["upscale", "{clip}", "-s", "2,3", "-o", "{tmp}/one.mp4"], 2, "2 scales"),
    (["upscale", "{clip}", "-s", "2", "--height", "720"], 2, "--height"),
    (["upscale", "{clip}", "--size", "12x"], 2, "12x"),
    (["upscale", "{clip}", "--height", "tall"], 2, "tall"),
    (["upscale", "{clip}", "--fit", "cinema"], 2, "cinema"),
    (["upscale", "{clip}", "--size", "40x20"], 3, "clip.mp4"),
    (["upscale", "{clip}", "--from", "noon"], 2, "noon"),
    (["upscale", "{clip}", "--from", "3", "--to", "2"], 2, "empty"),
    (["upscale", "{clip}", "--from", "90"], 3, "clip.mp4"),
    (["upscale", "{clip}", "--stream", "7"], 3, "7"),
    (["upscale", "{clip}", "--deinterlace", "maybe"], 2, "maybe"),
    (["upscale", "{clip}", "--fps", "fast"], 2, "fast"),
    (["upscale", "{clip}", "--fps", "24"], 2, "frame rate"),
    (["upscale", "{clip}", "--crf", "99"], 2, "99"),
    (["upscale", "{clip}", "--overwrite", "--skip-existing"], 2, "--skip-existing"),
    (["upscale", "{tmp}/shot_%03d.png"], 3, "shot_%03d.png"),
    (["upscale", "{clip}", "--model", "nonesuch"], 2, "nonesuch"),
    (["upscale", "{clip}", "--engine", "nonesuch"], 2, "nonesuch"),
    (["upscale", "{clip}", "--precision", "fp7"], 2, "fp7"),
    (["upscale", "{clip}", "--engine", "reference", "--precision", "int8", "--weights", "{weights}"], 2, "fp32"),
    (["upscale", "{clip}", "--codec", "nonesuch"], 2, "nonesuch"),
    (["upscale", "{clip}", "--preset", "nonesuch"], 2, "nonesuch"),
    (["upscale", "{clip}", "--encoder-option", "nonesuch"], 2, "nonesuch"),
    (["upscale", "{clip}", "--threads", "0"], 2, "threads"),
    (["upscale", "{clip}", "-o", "{tmp}/out.xyz"], 2, "xyz"),
    (["upscale", "{clip}", "{clip2}", "-o", "{tmp}/one.mp4"], 2, "one.mp4"),
    (["upscale", "{clip}", "--weights", "{text}"], 2, "text.mp4"),
    (["upscale", "{tmp}/missing.mp4"], 3, "missing.mp4"),
    (["upscale", "{text}"], 3, "text.mp4"),
    (["upscale", "{text}", "-o", "{tmp}/new/folder/"], 3, "text.mp4"),
    (["upscale", "{tmp}/" + "n" * 300 + ".mp4", "-o", "{tmp}/new.mp4"], 3, "nnn"),
    (["upscale", "{clip}", "-o", "{tmp}/" + "n" * 300 + ".mp4"], 4, "nnn"),
    (["upscale", "{clip}", "--weights", "{folder}"], 2, "hollow"),
    (["upscale", "{clip}", "--weights", "{text}", "--model", "bicubic"], 2, "--weights"),
    (["upscale", "{empty}"], 3, "empty.mp4"),
    (["upscale", "{folder}"], 3, "hollow"),
    (["upscale", "{sound}"], 3, "sound.m4a"),
    (["upscale", "{clip}", "-o", "{taken}"], 4, "taken.mp4"),
    (["upscale", "{clip}", "-o", "{clip}"], 4, "clip.mp4"),
    (["upscale", "{clip}", "-o", "{text}/x.mp4"], 4, "text.mp4"),
    (["compare", "{clip}"], 2, "-o"),
    (["compare", "{clip}", "-o", "{tmp}/new.mkv", "--layout", "diagonal"], 2, "side-by-side, split"),
    (["compare", "{clip}", "-o", "{tmp}/new.mkv", "-s", "5"], 2, "5"),
    (["compare", "{clip}", "-o", "{tmp}/new.mkv", "--model", "nonesuch"], 2, "nonesuch"),
    (["compare", "{clip}", "{clip2}", "-o", "{tmp}/new.mkv"], 2, "clip2.mp4"),
    (["compare", "{clip}", "-o", "{folder}"], 2, "name it with -o"),
    (["compare", "{clip}", "-o", "{tmp}/new/out.xyz"], 2, "xyz"),
    (["compare", "{clip}", "-o", "{tmp}/new.png", "--codec", "ffv1"], 2, "new.png is a picture"),
    (["compare", "{clip}", "-o", "{tmp}/new.png", "--to", "1"], 2, "new.png is a picture"),
    (["compare", "{clip}", "-o", "{tmp}/new.png", "--from", "90"], 3, "clip.mp4"),
    (["compare", "{clip}", "-o", "{taken}"], 4, "taken.mp4 exists"),
    (["compare", "{clip}", "-o", "{clip}", "--overwrite"], 4, "is the input"),
    (["compare", "{text}", "-o", "{tmp}/new.png"], 3, "text.mp4"),
    (["compare", "{tmp}/missing.mp4", "-o", "{tmp}/new.png"], 3, "missing.mp4"),
    (["compare", "{tmp}/shot_%03d.png", "-o", "{tmp}/new/new.mkv"], 3, "shot_%03d.png"),
    (["compare", "{folder}", "-o", "{tmp}/new.mkv"], 3, "hollow"),
    (["compare", "{sound}", "-o", "{tmp}/new.png"], 3, "sound.m4a"),
    (["probe", "{tmp}/missing.mp4"], 3, "missing.mp4"),
    (["probe", "{text}"], 3, "text.mp4"),
    (["evaluate", "--data", "{folder}"], 3, "hollow"),
    (["evaluate", "--data", "{folder}", "--model", "nonesuch"], 2, "nonesuch"),
    (["evaluate", "--data", "{folder}", "-s", "7"], 2, "7"),
    (["evaluate", "--data", "{folder}", "--precision", "fp32"], 2, "--engine"),
    (["evaluate", "--data", ""], 2, "no name"),
    (["evaluate", "--data", "{clip}", "--frames", "0"], 2, "0"),
    (["evaluate", "--data", "{clip}", "--weights", "{text}"], 2, "text.mp4"),
    (["evaluate", "--data", "{clip}", "--weights", "{weights}", "-s", "3"], 2, "scale 2, not 3"),
    (["evaluate", "--data", "{tmp}/missing"], 3, "missing does not exist"),
    (["evaluate", "--data", "{tmp}/" + "n" * 300], 3, "nnn"),
    (["evaluate", "--data", "{text}"], 3, "text.mp4"),
    (["evaluate", "--data", "{empty}", "--csv"], 3, "empty.mp4"),
    (["evaluate", "--data", "{sound}", "--json"], 3, "sound.m4a"),
    (["train", "nonesuch"], 2, "nonesuch"),
    (["train", "fsrcnn-s_x3-first", "--data", "{folder}", "--out", "{tmp}/runs"], 3, "hollow"),
])
def test_bad_input_gets_one_line_and_its_status(arguments: list[str], status: int, words: str, tmp_path: Path,
                                                clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"tmp": tmp_path, "clip": clip("clip.mp4"), "clip2": clip("clip2.mp4"), "taken": tmp_path / "taken.mp4",
             "text": tmp_path / "text.mp4", "empty": tmp_path / "empty.mp4", "folder": tmp_path / "hollow",
             "sound": tmp_path / "sound.m4a", "weights": assets_dir() / "weights" / "fsrcnn-s_x2.safetensors"}
    names["text"].write_text("This is no video.\n" * 50)
    names["taken"].write_bytes(b"precious")
    names["empty"].touch()
    names["folder"].mkdir()
    with av.open(str(names["sound"]), "w") as container:
        track = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main([argument.format(**names) for argument in arguments]) == status
    printed = capsys.readouterr()
    assert printed.out == "" or arguments[0] == "train"
    assert words in printed.err and len(printed.err.splitlines()) == 1 and "Traceback" not in printed.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "runs").exists() and not (tmp_path / "new").exists()


def test_all_inputs_are_tried_and_the_first_failure_is_the_status(tmp_path: Path, clip: Clip,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.mp4").write_text("no video")
    for name in ("a.mp4", "c.mp4"):
        clip(name)
    assert main(["upscale", str(tmp_path), str(tmp_path / "missing.mp4"), "-o", str(tmp_path / "out") + "/",
                 "--model", "bicubic"]) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_x2.mp4", "c_x2.mp4"]
    printed = capsys.readouterr()
    results = [line.split()[1:] for line in printed.out.splitlines()[-4:]]
    assert [words[0] for words in results] == ["12", "failed:", "12", "failed:"]
    assert [line.startswith("vsr: ") for line in printed.err.splitlines()] == [True, True]


def test_an_input_never_becomes_another_ones_output(tmp_path: Path, clip: Clip,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        clip(name).rename(folder / name)
    assert main(["upscale", str(folder), "--model", "bicubic"]) == 0
    for junk in (".a.123.part.mp4", "._a.mp4", "c.failed-check.mp4"):
        (folder / junk).write_bytes(b"junk")
    capsys.readouterr()
    assert main(["upscale", str(folder), "--model", "bicubic", "--overwrite"]) == 0
    assert sorted(p.name for p in folder.iterdir() if "_x2" in p.name) == ["a_x2.mp4", "b_x2.mp4"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        str(folder / "a_x2.mp4"), str(folder / "b_x2.mp4")]
    before = (folder / "a_x2.mp4").read_bytes()
    assert main(["upscale", str(folder / "a.mp4"), str(folder / "a_x2.mp4"), "--overwrite"]) == 4
    assert (folder / "a_x2.mp4").read_bytes() == before


def test_names_that_would_collide_are_refused(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "d").mkdir()
    first = clip("a.mp4")
    second = first.rename(tmp_path / "d" / "a.mp4")
    assert main(["upscale", str(clip("a.mp4")), str(second), "-o", str(tmp_path / "out") + "/"]) == 2
    assert not (tmp_path / "out").exists()


def test_several_scales_are_one_pass_and_a_file_each(tmp_path: Path, clip: Clip,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    source = clip("a.mp4", audio=1)
    cheap = ["--model", "bicubic", "--preset", "ultrafast"]  # x264's other presets vary for pictures this small
    assert main(["upscale", str(source), "-s", "2,3,4", "--progress", "json", *cheap]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(e["scale"], e["width"]) for e in events if e["event"] == "start"] == [(2, 96), (3, 144), (4, 192)]
    for scale in (2, 3, 4):
        alone = tmp_path / f"alone{scale}.mp4"
        together = tmp_path / f"a_x{scale}.mp4"
        assert main(["upscale", str(source), "-s", str(scale), "-o", str(alone), *cheap]) == 0
        assert together.read_bytes() == alone.read_bytes()


def test_what_is_made_already_can_be_skipped(tmp_path: Path, clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    clip("a.mp4")
    made = tmp_path / "a_x2.mp4"
    made.write_bytes(b"precious")
    clip("b.mp4")
    assert main(["upscale", str(tmp_path), "--skip-existing", "--model", "bicubic", "-s", "2,3"]) == 0
    assert made.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.glob("*_x*")) == ["a_x2.mp4", "a_x3.mp4", "b_x2.mp4", "b_x3.mp4"]
    printed = capsys.readouterr()
    assert "a_x2.mp4 exists already" in printed.err and "skipped" in printed.out


def test_options_of_videos_do_not_concern_the_pictures_of_a_folder(tmp_path: Path, clip: Clip) -> None:
    clip("a.mp4")
    cv2.imwrite(str(tmp_path / "b.png"), np.full((16, 24, 3), 90, np.uint8))
    assert main(["upscale", str(tmp_path), "--codec", "hevc", "--preset", "ultrafast", "--model", "bicubic"]) == 0
    assert {path.name for path in tmp_path.glob("*_x2*")} == {"a_x2.mp4", "b_x2.png"}
    assert main(["upscale", str(tmp_path / "b.png"), "--codec", "hevc", "--overwrite"]) == 2


def test_inputs_may_stand_behind_options(tmp_path: Path, clip: Clip) -> None:
    names = [str(clip(name)) for name in ("a.mp4", "b.mp4")]
    assert main(["upscale", names[0], "--model", "bicubic", names[1]]) == 0
    assert len(list(tmp_path.glob("*_x2.mp4"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="names with control characters")
def test_a_name_does_not_speak_to_the_terminal(tmp_path: Path, clip: Clip, capfd: pytest.CaptureFixture[str]) -> None:
    path = clip("a.mp4").rename(tmp_path / "a\x1b[31mred\nline.mp4")
    assert main(["upscale", str(path), "--model", "bicubic"]) == 0
    assert main(["upscale", str(path), "--model", "bicubic"]) == 4
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err and "\\x1b[31mred" in out and len(err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="closed file descriptors")
def test_closed_streams_are_no_trouble(tmp_path: Path, clip: Clip) -> None:
    command = [sys.executable, "-m", "vsr", "upscale", str(clip("a.mp4")), "--model", "bicubic"]
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    assert subprocess.run(closed).returncode == 0
    assert pictures(tmp_path / "a_x2.mp4")[0][1].shape == (64, 96)


def test_long_names_are_as_good_as_short_ones(tmp_path: Path, clip: Clip) -> None:
    source = clip("x" * 60 + ".mp4")
    assert main(["upscale", str(source), "-s", "2,3", "--model", "bicubic"]) == 0
    assert len(list(tmp_path.glob("x*_x[23].mp4"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_nobody_who_listens_is_no_success(tmp_path: Path, clip: Clip) -> None:
    command = [sys.executable, "-m", "vsr", "upscale", str(tmp_path / "missing.mp4"), str(clip("a.mp4")), "--model",
               "bicubic"]
    reader, writer = os.pipe()
    os.close(reader)
    assert subprocess.run(command, stdout=writer, stderr=writer).returncode == 3
    os.close(writer)
    assert (tmp_path / "a_x2.mp4").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX signals")
def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_cancel() as cancel:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN and not cancel.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_size_instead_of_a_factor(tmp_path: Path, clip: Clip) -> None:
    source = clip("a.mp4")
    assert main(["upscale", str(source), "--height", "80", "--model", "bicubic"]) == 0
    assert pictures(tmp_path / "a_120x80.mp4")[0][1].shape == (80, 120)
    assert main(["upscale", str(source), "--size", "64x64", "-o", str(tmp_path / "b.mp4"), "--model", "bicubic"]) == 0
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (64, 64, 1.5)


def test_a_part_of_a_file(tmp_path: Path, clip: Clip) -> None:
    source = clip("a.mp4", audio=1, pts=range(0, 50 * 512, 512))
    out = tmp_path / "part.mp4"
    assert main(["upscale", str(source), "-o", str(out), "--from", "0:00.4", "--to", "1.2", "--model", "bicubic"]) == 0
    assert [round(when, 3) for when, _ in pictures(out)] == [round(n / 25, 3) for n in range(20)]


def test_the_estimate_comes_before_the_work(clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    source = clip("a.mp4", audio=1, pts=range(0, 300 * 512, 512))
    assert main(["upscale", str(source), "--progress", "json", "--model", "bicubic"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    estimate, size = events[0]["estimate"], Path(events[-1]["output"]).stat().st_size
    assert events[0]["event"] == "start" and estimate["seconds"] > 0
    assert size / 4 < estimate["bytes"] < 4 * size


def test_overwrite_replaces_only_when_asked(tmp_path: Path, clip: Clip) -> None:
    source = clip("a.mp4")
    target = tmp_path / "a_x3.mp4"
    target.write_bytes(b"precious")
    assert main(["upscale", str(source), "-s", "3", "--model", "bicubic"]) == 4
    assert target.read_bytes() == b"precious"
    assert main(["upscale", str(source), "-s", "3", "--model", "bicubic", "--overwrite"]) == 0
    assert pictures(target)[0][1].shape == (96, 144)


@pytest.mark.parametrize("scale", [2, 3])
def test_own_weights_at_their_own_scale(scale: int, tmp_path: Path, clip: Clip,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.safetensors"
    save_file(file, random_weights(8, 4, 1, scale))
    source = clip("a.mp4")
    own = ["--weights", str(file)]
    assert main(["upscale", str(source), *own]) == 0
    large = tmp_path / f"a_x{scale}.mp4"
    assert [picture.shape for _, picture in pictures(large)] == [(scale * 32, scale * 48)] * len(pictures(source))
    for size in ("60x40", "300x200"):  # less and more than it makes
        out = tmp_path / f"{size}.mkv"
        assert main(["upscale", str(source), "--size", size, "-o", str(out), *own]) == 0
        assert "x".join(map(str, pictures(out)[0][1].shape[::-1])) == size
    assert main(["compare", str(source), "-o", str(tmp_path / "both.png"), "--layout", "split", *own]) == 0
    assert cv2.imread(str(tmp_path / "both.png")).shape == (scale * 32, scale * 48, 3)
    assert main(["evaluate", "--data", str(source), "--frames", "1", "--json", *own]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["scale"] == scale
    for command in (["upscale", str(source)], ["compare", str(source), "-o", str(tmp_path / "no.png")],
                    ["evaluate", "--data", str(source)], ["live", "--source", "test", "--headless"]):
        assert main([*command, "-s", "4", *own]) == 2
        assert f"are for scale {scale}, not 4" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert not (tmp_path / "no.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("kind", [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")])
def test_an_interrupt_leaves_nothing_behind(kind: signal.Signals, tmp_path: Path, clip: Clip) -> None:
    source = clip("long.mp4", size=(160, 120), pts=range(0, 300 * 512, 512))
    run = subprocess.Popen([sys.executable, "-m", "vsr", "upscale", str(source), "--progress", "json", "-s", "4",
                            "--preset", "placebo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout
    for line in run.stdout:
        if json.loads(line)["event"] == "progress":
            break
    run.send_signal(kind)
    rest, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert json.loads(rest.splitlines()[-1])["code"] == "cancelled"
    assert len(errors.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mp4"]


def test_probe_json(clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    path = clip("a.mp4", audio=1)
    assert main(["probe", str(path), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["v"] == 1 and info["path"] == str(path) and "mp4" in info["container"]
    assert [stream["type"] for stream in info["streams"]] == ["video", "audio"]
    assert set(info["streams"][1]) >= {"index", "type", "codec", "language", "disposition"}
    assert info["streams"][1]["language"] == "eng"
    assert set(info["video"]) >= {
        "index", "width", "height", "pix_fmt", "frames", "time_base", "rotation_degrees", "sample_aspect",
        "color_range", "color_space", "color_primaries", "color_transfer", "chroma_location", "interlaced"}
    assert (info["video"]["width"], info["video"]["height"], info["video"]["frames"]) == (48, 32, 12)
    assert main(["probe", str(path)]) == 0
    assert "48" in capsys.readouterr().out


def test_models_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert models["fsrcnn-s"]["scales"] == [2, 3, 4] and models["fsrcnn-s"]["parameters"] == 3937
    assert set(models["fsrcnn-s"]["card"]) == {"2", "3", "4"} and models["bicubic"]["parameters"] == 0
    assert main(["models"]) == 0
    assert "Set5" in capsys.readouterr().out


def test_doctor_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) >= {"v", "engine", "precision", "why", "cpu", "cuda", "encoders", "cameras", "versions"}
    assert facts["engine"] in ("cuda", "cpu", "reference") and (facts["engine"] == "cuda") == bool(facts["cuda"])
    assert "h264" in facts["encoders"] and facts["versions"]["torch"]
    assert main(["doctor"]) == 0
    assert "engine:" in capsys.readouterr().out


def test_evaluate_prints_table_json_and_csv(tmp_path: Path, clip: Clip, capsys: pytest.CaptureFixture[str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.quality.vmaf.has_vmaf", lambda: False)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, side in (("a", 50), ("b\n", 170)):
        noise = np.random.default_rng(0).uniform(0, 255, (side, 180))
        cv2.imwrite(str(folder / f"{name}.png"), cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8))
    four = ["psnr", "ssim", "bicubic_psnr", "bicubic_ssim"]
    assert main(["evaluate", "--data", str(folder), "--json"]) == 0
    printed = capsys.readouterr()
    alone = json.loads(printed.out)
    assert (alone["v"], alone["model"], alone["scale"]) == (1, "fsrcnn-s", 2)
    assert [image["name"] for image in alone["images"]] == ["a.png", "b\n.png"]
    for key in four:
        assert alone["average"][key] == pytest.approx(np.mean([image[key] for image in alone["images"]]), abs=1e-4)
    assert alone["images"][0]["ms_ssim"] is alone["average"]["ms_ssim"] is None  # too small, and so not of all
    assert 0 < alone["images"][1]["bicubic_ms_ssim"] < alone["images"][1]["ms_ssim"] < 1
    assert printed.err == "vsr: VMAF is left out: there is no ffmpeg command with libvmaf here\n"

    weights = str(assets_dir() / "weights" / "fsrcnn-s_x2.safetensors")
    several = ["--model", "fsrcnn-s", "--model", "bicubic", "--weights", weights]
    assert main(["evaluate", "--data", str(folder), *several, "--json"]) == 0
    first, second, third = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == alone and (second["model"], third["model"]) == ("bicubic", weights)
    assert second["average"]["psnr"] == second["average"]["bicubic_psnr"] == first["average"]["bicubic_psnr"]
    assert third["images"] == first["images"]

    assert main(["evaluate", "--data", str(folder), *several, "--csv", "--time"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [*rows[0]] == ["model", "scale", "name", "psnr", "ssim", "ms_ssim", "bicubic_psnr", "bicubic_ssim",
                          "bicubic_ms_ssim", "frames", "seconds"]
    assert [row["name"] for row in rows] == ["a.png"] * 3 + ["b\n.png"] * 3 + ["average"] * 3
    assert [row["model"] for row in rows] == ["fsrcnn-s", "bicubic", weights] * 3
    for row, image in zip(rows[::3], [*alone["images"], alone["average"]], strict=True):
        assert [float(row[key]) for key in four] == [image[key] for key in four] and float(row["seconds"]) > 0
        assert row["ms_ssim"] == ("" if image["ms_ssim"] is None else str(image["ms_ssim"])) and row["frames"] == ""

    assert main(["evaluate", "--data", str(folder), *several[:4], "--time", "--engine", "auto"]) == 0
    what, names, a, b, average = capsys.readouterr().out.splitlines()
    assert what == "x2: PSNR, SSIM, MS-SSIM of luma, seconds a picture"
    assert names.split() == ["bicubic", "fsrcnn-s", "bicubic"]
    assert len(a.split()) == len(b.split()) == len(average.split()) == 1 + 3 + 4 + 4 and b.split()[0] == "b\\n.png"
    assert a.split()[3] == "–" and len(a) == len(b) == len(average)
    assert names.index("bicubic") + 2 == a.index(a.split()[1])
    assert average.split()[1] == f"{alone['average']['bicubic_psnr']:.2f}"


def test_evaluate_takes_a_video_frame_by_frame(clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    path = clip("a.mp4", size=(65, 49), pix_fmt="yuv444p")
    assert main(["evaluate", "--data", str(path), "--model", "bicubic", "--json", "--frames", "5", "--time"]) == 0
    result = json.loads(capsys.readouterr().out)
    [video] = result["images"]
    assert (video["name"], video["frames"]) == ("a.mp4", 5) and video["psnr"] == video["bicubic_psnr"] > 10
    assert set(result["average"]) == set(video) - {"name", "frames"}
    assert main(["evaluate", "--data", str(path), "--model", "bicubic"]) == 0
    *_, video, average = capsys.readouterr().out.splitlines()
    assert video.startswith("  a.mp4 ") and video.endswith("   12 frames")
    assert video[9:-len("   12 frames")] == average[9:]  # the columns are in line


def test_evaluate_shows_vmaf_where_it_can(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for the ffmpeg command that cannot score the second of its three pictures."""
    given = iter([70.123456, 80, None, None, 90, 91])

    class Meter(contextlib.AbstractContextManager["Meter"]):
        def __init__(self, height: int, width: int) -> None:
            self.shape = height, width

        def __exit__(self, *_: object) -> None:
            pass

        def add(self, picture: np.ndarray, truth: np.ndarray) -> None:
            assert picture.shape == truth.shape == self.shape == (36, 46)

        def score(self) -> float | None:
            return next(given)

    monkeypatch.setattr("vsr.quality.vmaf.has_vmaf", lambda: True)
    monkeypatch.setattr("vsr.quality.evaluate.Vmaf", Meter)
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.arange(2000, dtype=np.float32).reshape(40, 50) // 10)
    assert main(["evaluate", "--data", str(tmp_path), "--csv"]) == 0
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["bicubic_vmaf"] for row in rows] == ["70.1235", "", "90", ""]
    assert [row["vmaf"] for row in rows] == ["80", "", "91", ""] and printed.err == ""


@pytest.mark.parametrize("kind", [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")])
def test_evaluate_stops_at_a_signal(kind: signal.Signals | None, clip: Clip, capsys: pytest.CaptureFixture[str],
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    if kind is None:
        pytest.skip("this system has no such signal")

    def upscale(low: np.ndarray) -> np.ndarray:
        if low.shape == (16, 24):  # the clip's
            signal.raise_signal(kind)
        return imresize(low, 2)

    monkeypatch.setattr("vsr.quality.evaluate.model_upscale", lambda *_, **__: ("signalling", upscale))
    assert main(["evaluate", "--data", str(clip("a.mp4"))]) == 130
    assert capsys.readouterr().err == "vsr: interrupted\n"


@pytest.mark.parametrize("arguments", [["probe"], ["evaluate", "--model", "bicubic", "--frames", "1", "--data"]])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    run = subprocess.Popen([sys.executable, "-m", "vsr", *arguments, str(SAMPLE)], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
    assert run.stdout and run.stderr
    run.stdout.close()
    assert run.wait(60) == 0
    said = run.stderr.read()
    assert said == b"" or (arguments[0] == "evaluate" and said.startswith(b"vsr: VMAF is left out: ")), said
    run.stderr.close()


def test_work_goes_on_when_nobody_reads(tmp_path: Path, clip: Clip) -> None:
    """A closed pipe and a name that the terminal cannot show: the jobs are done and the status says so."""
    sources = [clip("a.mp4"), clip("é映.mp4")]
    for number, kind in enumerate(("json", "auto")):
        out = tmp_path / f"out{number}"
        run = subprocess.Popen([sys.executable, "-m", "vsr", "upscale", *map(str, sources), "-o", f"{out}/", "--model",
                                "bicubic", "--progress", kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert run.stdout and run.stderr
        run.stdout.close()
        assert run.wait(60) == 0
        assert run.stderr.read() == b""
        run.stderr.close()
        assert sorted(path.name for path in out.iterdir()) == ["a_x2.mp4", "é映_x2.mp4"]


def test_debug_shows_a_traceback(tmp_path: Path) -> None:
    for arguments in (["--debug", "probe", "missing"], ["probe", "missing", "--debug"]):
        run = subprocess.run([sys.executable, "-m", "vsr", *arguments], cwd=tmp_path, capture_output=True, text=True,
                             env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
        assert "Traceback" in run.stderr and "missing" in run.stderr and run.returncode != 0


@pytest.mark.parametrize(("count", "said"), [(1, "1 frame, "), (2, "2 frames, ")])
def test_one_frame_is_no_frames(count: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Plain().event(Done(SAMPLE, Path("out.png"), count, 1.0, ()))
    assert said in capsys.readouterr().out
