"""What goes in comes out: a clip before and after ``vsr upscale``, compared property by property, without VSR's own
self-check. Tests use ``examine``; as a program it takes a folder of clips whole and prints a table:

    python tests/contract.py --data DIR > tests/CLIPS.md
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from facts import FFPROBE, THUMBNAIL, Facts, Stream, by_ffprobe, by_pyav, has_alpha

from vsr.engines.contract import processors

OK, WARNED, FAILED, NOTHING = "ok", "warned", "failed", "n/a"
MARKS = {OK: "✓", WARNED: "!", FAILED: "✗", NOTHING: ""}
CHEAP = ("--model", "bicubic", "--preset", "ultrafast")
_MS = Fraction(1, 1000)
_CENTRED = {"mpeg1video", "mjpeg", "h261", "h263", "theora"}  # where their chroma is if nothing is said
_BRIGHTNESS = 6  # how far thumbnails may differ on average, of 255: coding, and one matrix in another's place
_LIMIT_S = 900  # for one clip of a whole folder


class Verdict(NamedTuple):
    """``result`` is OK, WARNED (changed, and a warning said so), FAILED, or NOTHING (not applicable)."""

    result: str
    note: str = ""


@dataclass(slots=True)
class Outcome:
    """How ``vsr upscale`` ended. ``errors`` are the lines on stderr that are no warnings; ``files`` what it made."""

    status: int
    events: list[dict[str, Any]]
    errors: list[str]
    files: list[Path]

    @property
    def warnings(self) -> list[tuple[str, str]]:
        return [(e["code"], e["message"]) for e in self.events if e["event"] == "warning"]

    def event(self, name: str) -> dict[str, Any] | None:
        return next((e for e in self.events if e["event"] == name), None)


@dataclass(slots=True)
class Report:
    """One clip's result. ``verdicts`` by property; ``end`` says in words how it ended; ``right`` if that is right."""

    clip: str
    right: bool
    end: str
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    outcome: Outcome | None = None

    def __str__(self) -> str:
        failed = {k: v.note for k, v in self.verdicts.items() if v.result == FAILED}
        return f"{self.clip}: {self.end} {failed or ''} {self.outcome.warnings if self.outcome else ''}"


# ---- running -------------------------------------------------------------------------------------------------------


def run_here(arguments: Sequence[str]) -> tuple[int, str, str]:
    """The command line in this process: exit status, stdout, stderr (but not what C code writes there)."""
    from vsr.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


def run_apart(arguments: Sequence[str]) -> tuple[int, str, str]:
    """The same in a process of its own, for _LIMIT_S at most."""
    command = [sys.executable, "-m", "vsr", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S)
    return run.returncode, run.stdout, run.stderr


def upscale(path: Path, folder: Path, options: Sequence[str] = CHEAP, run: Callable[..., Any] = run_here) -> Outcome:
    """``path`` upscaled into ``folder``, which must be empty."""
    arguments = ["upscale", str(path), "-o", str(folder), "--progress", "json"]
    status, out, err = run([*arguments, *options])
    if status == 2 and "has no preset" in err:  # a still picture
        status, out, err = run([*arguments, *CHEAP[:2]])
    events = [json.loads(line) for line in out.splitlines()]
    return Outcome(status, events, err.splitlines(), sorted(folder.iterdir()))


def examine(
    path: Path, folder: Path, options: Sequence[str] = CHEAP, run: Callable[..., Any] = run_here, scale: int = 2
) -> Report:
    """Take one clip through probe, upscale, probe; ``folder`` is an empty one for the output, removed at the end."""
    name = f"{path.parent.name}/{path.name}"
    try:
        outcome = upscale(path, folder, options, run)
    except subprocess.TimeoutExpired:
        return Report(name, False, f"not finished after {_LIMIT_S} s")
    finally_right, end, verdicts = False, "", {}
    if outcome.status == 0 and len(outcome.files) == 1:
        verdicts = _both_opinions(path, outcome, scale)
        finally_right = all(v.result != FAILED for v in verdicts.values())
        warned = any(v.result == WARNED for v in verdicts.values())
        end = "wrong" if not finally_right else "right, warned" if warned else "right"
    elif outcome.status == 0:
        end = f"done, but with {len(outcome.files)} files"
    else:
        finally_right, end = _deserved(path, outcome)
    shutil.rmtree(folder)
    return Report(name, finally_right, end, verdicts, outcome)


def _deserved(path: Path, outcome: Outcome) -> tuple[bool, str]:
    """Whether a job that failed had a reason to, and how it ended."""
    end = f"status {outcome.status}: {' / '.join(outcome.errors)}"
    if len(outcome.errors) != 1 or outcome.files:
        return False, f"{end} ({len(outcome.errors)} lines, {len(outcome.files)} files left)"
    try:
        facts = by_pyav(path)
    except (av.error.FFmpegError, OSError, ValueError):
        return outcome.status == 3, end  # nobody can read it
    changes = len(facts.sizes) > 1 and "midway" in outcome.errors[0]
    return outcome.status == 3 and (not facts.times or changes), end


def _both_opinions(path: Path, outcome: Outcome, scale: int) -> dict[str, Verdict]:
    """What both readers say, the worse of the two for each property."""
    readers: list[Callable[..., Facts]] = [by_pyav, *([by_ffprobe] if FFPROBE else [])]
    verdicts: dict[str, Verdict] = {}
    order = [NOTHING, OK, WARNED, FAILED]
    for read in readers:
        try:
            before = read(path)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            continue  # the older FFmpeg does not know it
        if not before.times and read is by_ffprobe:
            continue
        after = read(outcome.files[0])
        for name, verdict in compare(before, after, outcome, path, scale).items():
            if verdict.note:
                verdict = verdict._replace(note=f"{verdict.note} ({read.__name__.replace('_', ' ')})")
            if name not in verdicts or order.index(verdict.result) > order.index(verdicts[name].result):
                verdicts[name] = verdict
    return verdicts


# ---- comparing -----------------------------------------------------------------------------------------------------


def compare(before: Facts, after: Facts, outcome: Outcome, path: Path, scale: int) -> dict[str, Verdict]:
    """Every property of ``path`` (``before``) and its output (``after``), both as the same reader sees them."""
    verdicts: dict[str, Verdict] = {}

    def judge(name: str, problem: str | None, covered_by: Sequence[str] = ()) -> None:
        """``problem`` is "" for none, None for not applicable; ``covered_by`` are the warnings that announce it."""
        if problem is None:
            verdicts[name] = Verdict(NOTHING)
        elif not problem:
            verdicts[name] = Verdict(OK)
        else:
            said = any(code in covered_by for code, _ in outcome.warnings)
            verdicts[name] = Verdict(WARNED if said else FAILED, problem)

    damage = ("damaged", "changed")
    judge("frames", _unequal(len(before.times), len(after.times)), damage)
    judge("timestamps", _times(before, after), (*damage, "timestamps"))
    judge("duration", _duration(before, after), damage)
    judge("pictures", _pictures(before, after), damage)
    wanted = None if before.size is None else (before.size[0] * scale, before.size[1] * scale)
    judge("size", _unequal(wanted, after.size))
    judge("pixels", _pixels(before, after), ("format",))
    judge("alpha", ("" if after.alpha else "lost") if before.alpha else None, ("alpha", "format"))
    judge("range", None if _rgb(before) or _rgb(after) else _unequal(_range(before), _range(after)), ("range",))
    judge("colour", _colour(before, after), ("color",))
    judge("siting", _siting(before, after), ("format",))
    judge("HDR", _hdr(before, after), ("hdr", "format"))
    judge("aspect", _unequal(before.aspect, after.aspect))
    judge("rotation", _unequal(before.matrix, after.matrix) if before.matrix or after.matrix else None, ("rotation",))
    judge("stereo", _unequal(before.stereo, after.stereo) if before.stereo or after.stereo else None, ("stereo",))
    judge("progressive", f"{after.interlaced} frames are interlaced" if after.interlaced else "", ("interlaced",))
    pairs, lost, dropped = _pair(before, after, outcome)
    verdicts["streams"] = Verdict(FAILED if lost else WARNED if dropped else OK, "; ".join([*lost, *dropped]))
    judge("names", _joined(_names(a, b, after) for a, b in pairs), ("metadata", "disposition"))
    sounds = [(a, b) for a, b in pairs if a.type == "audio"]
    judge("audio", _joined(_sound(a, b, path, outcome) for a, b in sounds) if sounds else None, damage)
    judge("A/V offset", _offsets(before, after, sounds), damage)
    texts = [(a, b) for a, b in pairs if a.type == "subtitle"]
    judge("subtitles", _joined(_subtitle(a, b, path, outcome) for a, b in texts) if texts else None, damage)
    kept = [(a, b) for a, b in pairs if a.type in ("attachment", "video", "data")]
    judge("attachments", _joined(_contents(a, b) for a, b in kept) if kept else None)
    judge("chapters", _chapters(before, after), ("chapters", "metadata"))
    judge("metadata", _metadata(before, after), ("metadata",))
    judge("decodes", "; ".join(after.errors[:2]))
    done = outcome.event("done")
    checks = [] if done is None else [check for check in done["checks"] if not check["ok"]]
    judge("self-check", "no event says that it is done" if done is None else "; ".join(c["name"] for c in checks))
    return verdicts


def _joined(problems: Iterable[str]) -> str:
    return "; ".join(filter(None, problems))


def _unequal(expected: Any, got: Any) -> str:
    return "" if expected == got else f"{got} instead of {expected}"


def _times(before: Facts, after: Facts) -> str | None:
    """Every pts as in the source, to the nearest tick of the output's container."""
    assert after.video is not None
    half = after.video.time_base / 2
    known = [(i, a, b) for i, (a, b) in enumerate(zip(before.times, after.times, strict=False))
             if a is not None and b is not None]  # fmt: skip
    wrong = [(i, a, b) for i, a, b in known if abs(a - b) > half]
    if not known or not wrong:
        return "" if known else None
    i, a, b = wrong[0]
    return f"{len(wrong)} of {len(known)} differ, the first is frame {i}: {float(b):.6f} s instead of {float(a):.6f} s"


def _duration(before: Facts, after: Facts) -> str | None:
    """From the first picture or sound to the end of the last; to one of their packets, since some containers do not
    say how long the last one is."""
    spans = [_span(facts) for facts in (before, after)]
    if None in spans:
        return None
    (have, packet), (got, other) = spans
    close = abs(have - got) <= max(packet, other) + 2 * _MS
    return "" if close else f"{float(got):.3f} s instead of {float(have):.3f} s"


def _span(facts: Facts) -> tuple[Fraction, Fraction] | None:
    """Seconds, and how long a packet near the end is."""
    times = [time for time in facts.times if time is not None]
    shown = [p for p in facts.video.packets if p.time == times[-1]] if facts.video and times else []
    heard = [p for s in facts.of("audio") for p in s.packets if p.time is not None]
    if len(times) < 2:
        return None
    start = min([times[0], *(p.time for p in heard)])
    end = max([times[-1], *(p.time + p.duration for p in [*shown, *heard])])
    gaps = [b - a for a, b in itertools.pairwise(facts.times[-4:]) if a is not None and b is not None]
    untimed = len(facts.times) - len(times)
    return end - start, (1 + untimed) * max([*gaps, *(p.duration for p in [*shown, *heard[-3:]])], default=Fraction(0))


def _pictures(before: Facts, after: Facts) -> str | None:
    """Each frame shows what it showed."""
    # What was transparent shows in any colour where transparency is lost, or is in a stream of its own.
    clear = [has_alpha(f.pix_fmt or "gray") for f in (before, after)]
    hidden = clear[0] != clear[1] and (before.alpha or after.alpha)
    small = min(before.size or (0, 0)) < THUMBNAIL
    if hidden or small or not len(before.thumbnails) or len(before.thumbnails) != len(after.thumbnails):
        return None
    far = np.abs(before.thumbnails - after.thumbnails).mean(axis=(1, 2))
    allowed = _BRIGHTNESS * (4 if before.interlaced else 1)  # where two moments become one picture
    return "" if far.max() <= allowed else f"frame {far.argmax()} is {far.max():.0f} levels from its source"


def _pixels(before: Facts, after: Facts) -> str:
    """At least the source's depth and chroma."""
    have, got = (av.VideoFormat(f.pix_fmt, 64, 64) for f in (before, after))
    shapes = [[(c.bits, c.width, c.height) for c in f.components if not c.is_alpha] for f in (have, got)]
    if have.has_palette:
        shapes[0] = [(8, 64, 64)] * 3
    kept = all(b >= a for one, other in zip(*shapes, strict=False) for a, b in zip(one, other, strict=True))
    return "" if kept and len(shapes[1]) >= len(shapes[0]) else f"{after.pix_fmt} instead of {before.pix_fmt}"


def _rgb(facts: Facts) -> bool:
    pixels = av.VideoFormat(facts.pix_fmt)
    return pixels.is_rgb or pixels.has_palette


def _range(facts: Facts) -> str:
    return "pc" if (facts.pix_fmt or "").startswith("yuvj") else facts.range or "tv"


def _colour(before: Facts, after: Facts) -> str | None:
    """The tags as they were; YUV that was made of RGB must say by which matrix."""
    if _rgb(after):
        return None
    if _rgb(before):
        return "" if after.space is not None else "the matrix is not said"
    tags = ((b, a) for b, a in ((getattr(before, n), getattr(after, n)) for n in ("space", "primaries", "transfer")))
    return "; ".join(_unequal(b, a) for b, a in tags if b != a)


def _siting(before: Facts, after: Facts) -> str | None:
    formats = [av.VideoFormat(f.pix_fmt, 64, 64) for f in (before, after)]
    chroma = [(f.components[1].width, f.components[1].height) for f in formats if len(f.components) > 2]
    if len(chroma) < 2 or chroma[0] != chroma[1] or chroma[0] == (64, 64) or not (before.siting or after.siting):
        return None
    have, got = (f.siting or ("center" if f.codec in _CENTRED else "left") for f in (before, after))
    return _unequal(have, got)


def _hdr(before: Facts, after: Facts) -> str | None:
    if not before.hdr:
        return None
    problems = []
    for name, values in before.hdr.items():
        got = after.hdr.get(name)
        if got is None or not np.allclose(values, got, rtol=1e-4, atol=1e-4):
            problems.append(f"{name} {got} instead of {values}")
    return "; ".join(problems)


def _pair(before: Facts, after: Facts, outcome: Outcome) -> tuple[list[tuple[Stream, Stream]], list[str], list[str]]:
    """Which stream became which; what is gone without a word; what is gone with a warning that names it (#index)."""
    pairs, lost, dropped = [], [], []
    if "pipe" in after.container:  # a still: whatever it is made of is one picture now
        return [], [], []
    for kind in ("audio", "subtitle", "attachment", "video", "data"):
        have, got = _streams(before, kind), _streams(after, kind)
        named = [s for s in have if any(f"#{s.index} " in f"{message} " for _, message in outcome.warnings)]
        if len(have) != len(got):
            dropped += [f"{kind} #{s.index} ({s.codec})" for s in named]
            have = [s for s in have if s not in named]
        pairs += list(zip(have, got, strict=False))
        lost += [f"{kind} #{s.index} ({s.codec}) is lost without a warning" for s in have[len(got) :]]
        lost += [f"{kind} #{s.index} ({s.codec}) is new" for s in got[len(have) :]]
    return pairs, lost, dropped


def _streams(facts: Facts, kind: str) -> list[Stream]:
    """Of one type; QuickTime's track of chapter titles is no stream of its own."""
    titles = "bin_data" if facts.chapters else None
    return [s for s in facts.of(kind) if kind != "data" or s.codec != titles]


def _names(before: Stream, after: Stream, file: Facts) -> str:
    """Language, title and dispositions. MP4 has the first track of each kind enabled."""
    enabled = {"default"} if file.container.startswith("mov") else set()
    have = [before.language, before.title, sorted(before.dispositions)]
    got = [after.language, after.title if file.titled else before.title]
    got.append(sorted(after.dispositions - (enabled - before.dispositions)))
    return "" if have == got else f"{before.type} #{before.index}: {_unequal(have, got)}"


def _contents(before: Stream, after: Stream) -> str:
    """The bytes of everything, whatever its packets are called."""
    if before.type == "attachment":
        return _unequal((before.filename, before.data), (after.filename, after.data))
    have, got = ([p.md5 for p in s.packets] for s in (before, after))
    return "" if have == got else f"{before.type} #{before.index}: other packets"


def _sound(before: Stream, after: Stream, path: Path, outcome: Outcome) -> str:
    if not _contents(before, after):
        return ""
    if _samples(path, before.index) == _samples(outcome.files[0], after.index):
        return ""
    return f"audio #{before.index}: {len(after.packets)} other packets instead of {len(before.packets)}"


def _samples(path: Path, index: int) -> list[bytes]:
    """What is heard, cut into no particular pieces."""
    heard: list[bytes] = []
    with av.open(f"file:{path}", metadata_errors="surrogateescape") as container:
        for packet in container.demux(container.streams[index]):
            with contextlib.suppress(av.error.FFmpegError):
                heard += [frame.to_ndarray().T.tobytes() for frame in packet.decode()]
    return [b"".join(heard)]


def _offsets(before: Facts, after: Facts, sounds: list[tuple[Stream, Stream]]) -> str | None:
    """Sound against picture, from its first packet to its last, in both files to the millisecond."""
    problems = []
    for a, b in sounds:
        starts = [min((t for t in f.times if t is not None), default=None) for f in (before, after)]
        have, got = ([p.time for p in s.packets if p.time is not None] for s in (a, b))
        if None in starts or not have or not got:
            continue
        for end, x, y in (("first", min(have), min(got)), ("last", max(have), max(got))):
            if len(have) != len(got) and end == "last":
                continue  # cut into other packets
            moved = (y - starts[1]) - (x - starts[0])
            if abs(moved) > _MS:
                problems.append(f"audio #{a.index}: the {end} packet moved by {float(moved) * 1000:.1f} ms")
    return "; ".join(problems) if sounds else None


def _subtitle(before: Stream, after: Stream, path: Path, outcome: Outcome) -> str:
    """The same packets at the same times, or the same words where the format is another."""
    (have, got), shift = ([p for p in s.packets if p.size > 2] for s in (before, after)), _MS
    if before.codec != after.codec:
        words = [_words(p, s.index) for p, s in ((path, before), (outcome.files[0], after))]
        if words[0] != words[1]:
            return f"subtitle #{before.index}: {words[1]} instead of {words[0]}"
    elif [p.md5 for p in have] != [p.md5 for p in got]:
        return f"subtitle #{before.index}: {len(got)} other packets instead of {len(have)}"
    moved = [b.time - a.time for a, b in zip(have, got, strict=False) if a.time is not None and b.time is not None]
    late = max(map(abs, moved), default=Fraction(0))
    return f"subtitle #{before.index}: {float(late):.3f} s late" if late > shift else ""


def _words(path: Path, index: int) -> list[str]:
    words = []
    with av.open(f"file:{path}", metadata_errors="surrogateescape") as container:
        for packet in container.demux(container.streams[index]):
            for rect in packet.decode() if packet.size else ():
                text = rect.dialogue if rect.type == b"ass" else b""
                words.append(re.sub(r"{[^}]*}", "", text.decode("utf-8", "replace").replace("\\N", "\n")).strip())
    return [w for w in words if w]


def _chapters(before: Facts, after: Facts) -> str | None:
    if not before.chapters and not after.chapters:
        return None
    same = len(before.chapters) == len(after.chapters) and all(
        abs(a[0] - b[0]) <= 0.001 and abs(a[1] - b[1]) <= 0.001 and a[2] == b[2]
        for a, b in zip(before.chapters, after.chapters, strict=True)
    )
    return "" if same else f"{after.chapters} instead of {before.chapters}"


def _metadata(before: Facts, after: Facts) -> str | None:
    gone = {k: after.tags.get(k) for k, v in before.tags.items() if _plain(after.tags.get(k, "")) != _plain(v)}
    return _joined(f"{k} is {v} instead of {before.tags[k]}" for k, v in gone.items()) if before.tags else None


def _plain(text: str) -> str:
    """Times and places as one way of writing them has it."""
    text = re.sub(r"(\d\d\d\d-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.0*)?Z?", r"\1 \2", text)
    return re.sub(r"[+-]\d+\.\d+", lambda number: f"{float(number[0]):+.4f}", text)


# ---- the table -----------------------------------------------------------------------------------------------------


def table(reports: list[Report]) -> str:
    """Markdown: a row for each clip, a column for each property."""
    columns = list(dict.fromkeys(name for report in reports for name in report.verdicts))
    right = sum(report.right for report in reports)
    lines = [
        "# Every clip, property by property",
        "",
        f"{right} of {len(reports)} clips end right, or as their defect deserves. Made by `python tests/contract.py`"
        f" with `vsr upscale {' '.join(CHEAP)}`: the picture's quality is not what is looked at here.",
        "",
        "✓ as in the source · ! changed, and a warning says so · ✗ wrong · empty: the clip has no such thing."
        " Each property was read from source and output by PyAV" + (" and by ffprobe." if FFPROBE else "."),
        "",
        "| clip | end | " + " | ".join(columns) + " | what was said |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for report in reports:
        marks = [MARKS[report.verdicts[c].result] if c in report.verdicts else "" for c in columns]
        said = [f"{c}: {v.note}" for c, v in report.verdicts.items() if v.result == FAILED]
        said += [message for _, message in report.outcome.warnings] if report.outcome else []
        end = "" if report.verdicts else report.end
        cells = [report.clip, "✗" if not report.right else "✓" if report.verdicts else "refused", *marks]
        cells.append("; ".join([end, *said] if end else said).replace("|", "\\|"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def examined(path: Path) -> Report:
    """One clip, whole, in a folder of its own; a line about it on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "out"
        made.mkdir()
        report = examine(path, made, run=run_apart)
    for old in (str(path), str(made), str(path.parent)):
        report.end = report.end.replace(old, path.name)
    for event in report.outcome.events if report.outcome else []:
        event["message"] = event.get("message", "").replace(str(path), path.name)
    print(report, file=sys.stderr, flush=True)
    return report


def main() -> int:
    """The table on stdout, a line for each clip on stderr; the status is the number of clips that end wrong."""
    options = argparse.ArgumentParser(description="Take every clip of a folder through 'vsr upscale' and compare.")
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--only", default="", metavar="TEXT", help="clips with this in their path")
    arguments = options.parse_args()
    clips = sorted(p for p in arguments.data.rglob("*") if p.is_file() and arguments.only in str(p))
    with ThreadPoolExecutor(processors()) as pool:
        reports = list(pool.map(examined, clips))
    print(table(reports), end="")
    return min(100, sum(not report.right for report in reports))


if __name__ == "__main__":
    sys.exit(main())
