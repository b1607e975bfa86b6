"""Metadata in words: what of a file's or a stream's goes into another file, and what that has no place for."""

from __future__ import annotations

import io

import av

# What belongs to the source's container or its coding, not to its content.
_STALE_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "rotate", "vendor_id"}
_STALE_PREFIXES = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_")
# What players show of a file; FFmpeg gives it MPEG-4's own atoms only where all tags have such.
_SHOWN = {"title", "artist", "album", "album_artist", "author", "comment", "composer", "copyright", "description",
          "disc", "episode_id", "genre", "lyrics", "show", "synopsis", "track"}  # fmt: skip


# ISO 639-2 has two codes for some languages; QuickTime's list has one of them, or what FFmpeg calls it there.
_TWINS = {
    "alb": "sqi", "arm": "hye", "baq": "eus", "bur": "mya", "chi": "zho", "cze": "ces", "dut": "nld", "fre": "fra",
    "geo": "kat", "ger": "deu", "gre": "ell", "ice": "isl", "mac": "mkd", "mao": "mri", "may": "msa", "per": "fas",
    "rum": "ron", "slo": "slk", "tib": "bod", "wel": "cym",
}  # fmt: skip
_TWINS |= {new: old for old, new in _TWINS.items()}
_QUICKTIME = {"fao": "fo ", "hrv": "hr ", "pan": "pa ", "srp": "sr ", "swe": "sve"}


def content_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags to carry over; Matroska and WebM have the names in capitals, MPEG-4 some with a language behind."""
    stale = {k for k in tags if _base(k) in _STALE_TAGS or k.upper().startswith(_STALE_PREFIXES)}
    stale |= {k for k, v in tags.items() if k == "software" and v.startswith("Lavf")}  # FFmpeg's AVI
    return {k: v for k, v in tags.items() if k not in stale}


def stream_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags of a stream to carry over. FFmpeg reads a track's name in MPEG-4 as "name" and writes "title"."""
    kept = content_tags(tags)
    if "name" in kept:
        kept.setdefault("title", kept.pop("name"))
    for iso, own in _QUICKTIME.items():
        if kept.get("language") == own:
            kept["language"] = iso
    return kept


def fit_stream_tags(container: str, tags: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The ``tags`` of a stream as ``container`` (FFmpeg's name of the muxer) keeps them, its language by another code
    where it needs that; and those that it has no place for but should have, as "name=text"."""
    kept = stream_tags(tags)
    lost: list[str] = []
    if container in ("matroska", "webm"):
        return kept, lost
    language = kept.pop("language", "und")
    if language != "und":
        codes = [code for code in (language, _TWINS.get(language), _QUICKTIME.get(language)) if code]
        read = {code: _reread(container, {}, {"language": code})[1].get("language") for code in codes}
        if code := next((code for code in codes if read[code] == code), None):
            kept["language"] = code
        else:
            lost.append(f"language={language}")
    if (mode := kept.pop("stereo_mode", "mono")) != "mono":
        lost.append(f"stereo_mode={mode}")
    return kept, lost


def muxer_options(container: str, tags: dict[str, str]) -> dict[str, str]:
    """The options with which ``container`` (FFmpeg's name of the muxer) keeps most of ``tags``.

    Apple and Android name theirs as they name programs (com.apple.quicktime.make). FFmpeg writes these only if it may
    write all so, where few players look for a title: that must not be among them. There is no room for a cover then.
    """
    names = {_base(name) for name in tags}
    keys = any(name.startswith("com.") for name in names) and not names & _SHOWN
    return {"movflags": "use_metadata_tags"} if container in ("mp4", "mov") and keys else {}


def lost_tags(container: str, tags: dict[str, str], options: dict[str, str]) -> list[str]:
    """The names of those ``tags`` that ``container`` does not keep: a tiny file is written with them, and read."""
    if not tags or container in ("matroska", "webm"):  # which keep all
        return []
    kept = {_base(name) for name in _reread(container, tags, {}, options)[0]}
    return [name for name, text in tags.items() if text and _base(name) not in kept]


def _reread(
    container: str, tags: dict[str, str], of_stream: dict[str, str], options: dict[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """What is read of these tags, the file's and its stream's, that were written to a tiny file."""
    written = io.BytesIO()
    with av.open(written, "w", format=container, container_options=options, metadata_errors="surrogateescape") as made:
        made.metadata.update(tags)
        video = made.add_stream("mpeg4", rate=25)
        video.metadata.update(of_stream)
        video.width = video.height = 16
        for frame in (av.VideoFrame(16, 16, "yuv420p"), None):
            made.mux(video.encode(frame))
    with av.open(io.BytesIO(written.getvalue()), "r", metadata_errors="surrogateescape") as read:
        return dict(read.metadata), dict(read.streams[0].metadata)


def _base(name: str) -> str:
    """``name`` in small letters, without a language."""
    return name.lower().partition("-")[0]
