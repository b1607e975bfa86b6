"""The canvas's OpenGL painter: the same pixels as the raster painter's, by a graphics processor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QOffscreenSurface, QOpenGLContext, QPainter, QSurfaceFormat
from PySide6.QtOpenGL import QOpenGLShader, QOpenGLShaderProgram, QOpenGLTexture, QOpenGLVertexArrayObject
from PySide6.QtOpenGLWidgets import QOpenGLWidget

from ui.surface import Draw
from ui.theme import CANVAS

if TYPE_CHECKING:
    from ui.canvas import Canvas

_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software", "swiftshader", "gdi generic", "basic render")
_RENDERER, _COLOR_BUFFER, _SCISSOR, _TRIANGLES = 0x1F01, 0x4000, 0x0C11, 0x0004  # as OpenGL numbers them

_VERTEX = """#version 330 core
void main() {  // one triangle over all that the scissor leaves
    vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
    gl_Position = vec4(2.0 * corner - 1.0, 0.0, 1.0);
}
"""

# The filter is written out: a graphics processor's own has as few as 256 steps between two pixels.
_FRAGMENT = """#version 330 core
uniform sampler2D picture;
uniform mat3 back;  // from the screen, its first row on top, to the picture's pixels
uniform float height;
uniform bool blend;
out vec4 color;

void main() {
    ivec2 size = textureSize(picture, 0);
    vec2 at = (back * vec3(gl_FragCoord.x, height - gl_FragCoord.y, 1.0)).xy;
    if (at.x < 0.0 || at.y < 0.0 || at.x >= float(size.x) || at.y >= float(size.y)) discard;
    if (!blend) {
        color = vec4(texelFetch(picture, ivec2(floor(at)), 0).rgb, 1.0);
        return;
    }
    at -= 0.5;
    ivec2 first = ivec2(floor(at)), last = size - 1;
    vec2 share = at - vec2(first);
    ivec2 low = clamp(first, ivec2(0), last), high = clamp(first + 1, ivec2(0), last);
    vec3 above = mix(texelFetch(picture, low, 0).rgb, texelFetch(picture, ivec2(high.x, low.y), 0).rgb, share.x);
    vec3 below = mix(texelFetch(picture, ivec2(low.x, high.y), 0).rgb, texelFetch(picture, high, 0).rgb, share.x);
    color = vec4(mix(above, below, share.y), 1.0);
}
"""


def _format() -> QSurfaceFormat:
    wanted = QSurfaceFormat()
    wanted.setRenderableType(QSurfaceFormat.RenderableType.OpenGL)
    wanted.setVersion(3, 3)
    wanted.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
    return wanted


def renderer() -> str | None:
    """The name of what OpenGL 3.3 is drawn by; None where there is none."""
    context, surface = QOpenGLContext(), QOffscreenSurface()
    context.setFormat(_format())
    if not context.create():
        return None
    surface.setFormat(context.format())
    surface.create()
    if not context.makeCurrent(surface) or context.format().version() < (3, 3):
        return None
    named = context.functions().glGetString(_RENDERER)
    context.doneCurrent()
    return named if isinstance(named, str) else bytes(named or b"").decode("latin-1")


def has_gpu() -> bool:
    """Whether OpenGL is drawn by a graphics processor; the processor's own raster painter is faster than its OpenGL."""
    named = renderer()
    return named is not None and not any(software in named.lower() for software in _SOFTWARE)


class GlSurface(QOpenGLWidget):
    """Paints with OpenGL 3.3. Images that stay the same are sent to the graphics memory once."""

    def __init__(self, canvas: Canvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._program: QOpenGLShaderProgram | None = None
        self._array: QOpenGLVertexArrayObject | None = None
        self._textures: dict[int, tuple[np.ndarray, QOpenGLTexture]] = {}  # by the identity of the pixels
        self.setFormat(_format())
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def initializeGL(self) -> None:
        self.context().aboutToBeDestroyed.connect(self.release)
        program = self._program = QOpenGLShaderProgram()
        program.addShaderFromSourceCode(QOpenGLShader.ShaderTypeBit.Vertex, _VERTEX)
        program.addShaderFromSourceCode(QOpenGLShader.ShaderTypeBit.Fragment, _FRAGMENT)
        if not program.link():
            raise RuntimeError(f"OpenGL: {program.log()}")
        self._array = QOpenGLVertexArrayObject()
        self._array.create()

    def paintGL(self) -> None:
        begun = time.perf_counter()
        painter = QPainter(self)
        painter.beginNativePainting()
        gl = self.context().functions()
        gl.glClearColor(CANVAS.redF(), CANVAS.greenF(), CANVAS.blueF(), 1)
        gl.glClear(_COLOR_BUFFER)
        scene = self._canvas.scene()
        if scene:
            self._paint(scene)
        painter.endNativePainting()
        self._canvas.paint_over(painter)
        painter.end()
        self._canvas.painted(begun)

    def _paint(self, scene: list[Draw]) -> None:
        assert self._program is not None and self._array is not None
        gl, program = self.context().functions(), self._program
        height = round(self.height() * self.devicePixelRatioF())
        drawn = {id(draw.pixels) for draw in scene}
        spare = [kept[1] for key, kept in self._textures.items() if key not in drawn]
        self._textures = {key: kept for key, kept in self._textures.items() if key in drawn}
        program.bind()
        self._array.bind()
        gl.glEnable(_SCISSOR)
        for draw in scene:
            if id(draw.pixels) not in self._textures:
                self._textures[id(draw.pixels)] = draw.pixels, _texture(draw.pixels, spare)
            self._textures[id(draw.pixels)][1].bind()
            program.setUniformValue("picture", 0)
            program.setUniformValue("back", draw.place.inverted()[0])
            program.setUniformValue1f("height", float(height))
            program.setUniformValue1i("blend", int(draw.smooth))
            clip = draw.clip
            gl.glScissor(clip.x(), height - clip.y() - clip.height(), max(0, clip.width()), max(0, clip.height()))
            gl.glDrawArrays(_TRIANGLES, 0, 3)
        gl.glDisable(_SCISSOR)
        self._array.release()
        program.release()
        for texture in spare:
            texture.destroy()

    def release(self) -> None:
        if self._array is None:
            return
        self.makeCurrent()
        for _, texture in self._textures.values():
            texture.destroy()
        self._textures.clear()
        self._array.destroy()
        self._array = self._program = None
        self.doneCurrent()


def _texture(pixels: np.ndarray, spare: list[QOpenGLTexture]) -> QOpenGLTexture:
    """A texture of these pixels, in the memory of one that is no longer needed where there is one of the size."""
    height, width = pixels.shape[:2]
    texture = next((each for each in spare if (each.width(), each.height()) == (width, height)), None)
    if texture is None:
        texture = QOpenGLTexture(QOpenGLTexture.Target.Target2D)
        texture.setFormat(QOpenGLTexture.TextureFormat.RGBA8_UNorm)
        texture.setSize(width, height)
        texture.setMipLevels(1)
        texture.allocateStorage(QOpenGLTexture.PixelFormat.BGRA, QOpenGLTexture.PixelType.UInt8)
    else:
        spare.remove(texture)
    data: Any = pixels.data.cast("B")  # PySide takes buffers, though its stubs say addresses, which it takes for others
    texture.setData(QOpenGLTexture.PixelFormat.BGRA, QOpenGLTexture.PixelType.UInt8, data)
    return texture
