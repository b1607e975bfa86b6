"""Deinterlacing: one whole picture for every frame that carries two fields, by FFmpeg's bwdif."""

from __future__ import annotations

from collections import deque

import av
from av.filter import Graph

from vsr.errors import UsageError

MODES = ("auto", "on", "off")
_LEAST = 3, 4  # columns and lines that bwdif asks of every plane


class Deinterlacer:
    """Gives planar frames back as whole pictures, in the same number, format and order, with their own times.

    ``mode``: "auto" touches the frames that say that they are interlaced, and passes all others as they are; "on"
    touches all; "off" none. The field order is each frame's own. bwdif looks at the frames before and after, so one
    frame is held back once there is something to do; ``flush()`` gives it, too.

    Raises ``UsageError`` for another mode.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise UsageError(f"unknown way to deinterlace {mode!r}; use one of {', '.join(MODES)}")
        self.mode = mode
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None
        self._held: deque[av.VideoFrame | None] = deque()  # what went in, for the times of what comes out

    def __call__(self, frame: av.VideoFrame) -> list[av.VideoFrame]:
        done: list[av.VideoFrame] = []
        shape = frame.width, frame.height, frame.format.name
        if self._graph is not None and shape != self._shape:
            done = self.flush()
        if self._graph is None:
            wanted = self.mode == "on" or (self.mode == "auto" and frame.interlaced_frame)
            if not wanted or any(p.width < _LEAST[0] or p.height < _LEAST[1] for p in frame.planes):
                return [*done, frame]
            self._graph, self._shape = self._opened(frame), shape
            # The first frame once more, to be dropped: without one before it, bwdif blurs even what stands still.
            self._held.append(None)
            self._graph.vpush(frame)
        self._held.append(frame)
        self._graph.vpush(frame)
        return done + self._pulled()

    def flush(self) -> list[av.VideoFrame]:
        """The last frame. Another stream may follow."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        done = self._pulled()
        assert not self._held, "a frame is lost in the filter"
        self._graph = None
        return done

    def _opened(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base="1/1",  # the times of frames are put back; the filter's own unit is half of this
        )
        touched = "all" if self.mode == "on" else "interlaced"
        graph.link_nodes(
            source,
            graph.add("bwdif", mode="send_frame", parity="auto", deint=touched),
            graph.add("format", pix_fmts=frame.format.name),
            graph.add("buffersink"),
        ).configure()
        return graph

    def _pulled(self) -> list[av.VideoFrame]:
        done: list[av.VideoFrame] = []
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return done
            own = self._held.popleft()
            if own is not None:
                frame.pts, frame.dts, frame.duration = own.pts, own.dts, own.duration
                done.append(frame)
