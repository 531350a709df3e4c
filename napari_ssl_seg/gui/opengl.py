"""``python -m napari_ssl_seg.gui.opengl``: print what draws here, as one JSON object. Run by the doctor."""

from __future__ import annotations

import json


def describe() -> dict[str, str]:
    """Qt binding, OpenGL vendor, renderer and version of a small off-screen context."""
    import qtpy
    from qtpy.QtGui import QGuiApplication
    from vispy import app, gloo

    if QGuiApplication.instance() is None:
        app.use_app("pyqt6" if qtpy.API_NAME == "PyQt6" else qtpy.API_NAME.lower())
    canvas = app.Canvas(size=(8, 8), show=False)
    canvas.set_current()
    answer = {
        "qt": f"{qtpy.API_NAME} {qtpy.QT_VERSION}",
        "vendor": str(gloo.gl.glGetParameter(gloo.gl.GL_VENDOR)),
        "renderer": str(gloo.gl.glGetParameter(gloo.gl.GL_RENDERER)),
        "version": str(gloo.gl.glGetParameter(gloo.gl.GL_VERSION)),
    }
    canvas.close()
    return answer


if __name__ == "__main__":
    print(json.dumps(describe()))
