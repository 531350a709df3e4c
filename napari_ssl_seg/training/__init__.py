"""Training and prediction: runs, the loop, devices, processes. Torch and all that is heavy load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.training.events import STATES, Event, drain
    from napari_ssl_seg.training.hardware import DeviceInfo, devices, pick_device, warm_up
    from napari_ssl_seg.training.planning import plan_network, prepare_finetune, prepare_pretrain
    from napari_ssl_seg.training.prediction import predict, predict_files
    from napari_ssl_seg.training.processes import process_alive, start_detached
    from napari_ssl_seg.training.runs import Run, RunRecord, find_run, list_runs, watch
    from napari_ssl_seg.training.settings import FinetuneSettings, PretrainSettings, TrainSettings
    from napari_ssl_seg.training.sliding import segment
    from napari_ssl_seg.training.verbs import finetune, pretrain, resume
    from napari_ssl_seg.training.verbs import train_run as train
    from napari_ssl_seg.training.weights import load_backbone, load_pretraining, load_segmentation

_HOMES = {
    "DeviceInfo": "hardware",
    "Event": "events",
    "FinetuneSettings": "settings",
    "PretrainSettings": "settings",
    "Run": "runs",
    "RunRecord": "runs",
    "STATES": "events",
    "TrainSettings": "settings",
    "devices": "hardware",
    "drain": "events",
    "find_run": "runs",
    "finetune": "verbs",
    "list_runs": "runs",
    "load_backbone": "weights",
    "load_pretraining": "weights",
    "load_segmentation": "weights",
    "pick_device": "hardware",
    "plan_network": "planning",
    "predict": "prediction",
    "predict_files": "prediction",
    "prepare_finetune": "planning",
    "prepare_pretrain": "planning",
    "pretrain": "verbs",
    "process_alive": "processes",
    "resume": "verbs",
    "segment": "sliding",
    "start_detached": "processes",
    "train": "verbs",
    "warm_up": "hardware",
    "watch": "runs",
}
__all__ = [
    "STATES",
    "DeviceInfo",
    "Event",
    "FinetuneSettings",
    "PretrainSettings",
    "Run",
    "RunRecord",
    "TrainSettings",
    "devices",
    "drain",
    "find_run",
    "finetune",
    "list_runs",
    "load_backbone",
    "load_pretraining",
    "load_segmentation",
    "pick_device",
    "plan_network",
    "predict",
    "predict_files",
    "prepare_finetune",
    "prepare_pretrain",
    "pretrain",
    "process_alive",
    "resume",
    "segment",
    "start_detached",
    "train",
    "warm_up",
    "watch",
]


def __getattr__(name: str) -> object:
    if name == "train":
        return import_module("napari_ssl_seg.training.verbs").train_run
    if name in _HOMES:
        return getattr(import_module(f"napari_ssl_seg.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
