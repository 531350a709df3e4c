"""The state of the window, without Qt: what is open and shown, the jobs, the comparison."""

from napari_ssl_seg.workbench.state import JobLine, Workbench, load_study, sentence

__all__ = ["JobLine", "Workbench", "load_study", "sentence"]
