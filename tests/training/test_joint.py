"""Fine-tuning jointly with MOD: what it takes, what it leaves, and that it goes on where it was stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_ssl_seg import training
from napari_ssl_seg.cli import main
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import inspect, mod_gauge
from napari_ssl_seg.training import drain
from napari_ssl_seg.training.joint import JointTask
from napari_ssl_seg.training.runs import Run
from napari_ssl_seg.training.settings import FinetuneSettings, make_settings
from napari_ssl_seg.training.sliding import segment
from tests.training.conftest import TINY

SMALL = {"hidden": 16, "bottleneck": 8, "prototypes": 12}


def joint(study, settings=None, **more):
    return drain(training.finetune(study, joint="mod", settings={**SMALL, **(settings or {})}, **{**TINY, **more}))


def last(run):
    return torch.load(run.checkpoint_path("last"), weights_only=True)["model"]


def task_of(study, run):
    record = run.record
    spec = training.load_segmentation(run)[1] if run.weights_path.exists() else None
    if spec is None:
        from napari_ssl_seg.networks import NetworkSpec

        spec = NetworkSpec.model_validate(record.network)
    return JointTask(study, run, record, spec, make_settings(FinetuneSettings, record.settings), None)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_joint_run_predicts_as_its_student_does_and_leaves_nothing_of_mod(study, dims):
    run = joint(study, dims=dims, cases=3)
    record = run.record
    assert run.state == "finished" and record.kind == "finetune" and record.method is None
    assert record.joint == "mod" and record.config["hidden"] == 16 and "mod" in run.id
    assert record.title == "scratch + MOD (3 settings changed), 3 scans"
    losses = run.latest("step").data["losses"]
    assert set(losses) == {"total", "dice", "ce", "seg", "efm", "cls", "dp", "teacher_entropy"}
    weighted = losses["seg"] + 1.5 * losses["efm"] + 0.5 * losses["cls"] + losses["dp"]
    assert losses["total"] == pytest.approx(weighted, rel=1e-4)

    plain, spec, classes = training.load_segmentation(run)
    left = load_file(run.weights_path)
    assert left.keys() == plain.state_dict().keys()
    trained = last(run)
    assert {name.split(".")[0] for name in trained} == {"network", "companion"}
    assert {name.removeprefix("network.") for name in trained if name.startswith("network.")} == left.keys()
    assert json.loads(run.model_path.read_text())["method"] is None and len(classes) == 2
    _, model, _ = training.load_pretraining(run)
    case = study.cases(split="test")[0]
    array = study.patches_source(case.id, purpose="predict").array
    best = (
        torch.load(run.checkpoint_path("best"), weights_only=True)["model"]
        if run.checkpoint_path("best").exists()
        else trained
    )
    model.load_state_dict(best)
    student, exported = (segment(net.eval(), array, spec, device="cpu") for net in (model.network, plain))
    assert np.array_equal(student, exported)
    assert all(torch.equal(tensor, left[name]) for name, tensor in model.network.state_dict().items())
    assert drain(training.predict(study, run, split="test"))


def test_a_resumed_joint_run_equals_an_uninterrupted_one(study, monkeypatch):
    whole = joint(study, dims=2)
    run = training.prepare_finetune(study, joint="mod", settings=SMALL, dims=2, **TINY)
    steps = iter(range(100))
    with monkeypatch.context() as patched:  # asked for after a few looks, whatever the speed
        patched.setattr(Run, "stop_requested", property(lambda _: next(steps) >= 4))
        drain(training.train(study, run))
    assert run.state == "stopped"
    assert 0 < run.latest("checkpoint").data["step"] < 6
    drain(training.resume(study, run))
    first, second = last(whole), last(run)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name], name
    assert {
        "companion.token_centre",
        "companion.teacher.head.prototypes",
        "companion.predictor.head.weight",
    } < first.keys()


def test_a_weight_of_zero_is_a_plain_fine_tuning_bit_for_bit(study):
    plain = drain(training.finetune(study, dims=2, **TINY))
    without = joint(study, {"mod_weight": 0.0}, dims=2)
    trained = last(without)
    assert all(torch.equal(value, trained[f"network.{name}"]) for name, value in last(plain).items())
    assert "efm" not in without.latest("step").data["losses"]


def test_gradients_are_those_of_both_losses_and_labels_follow_the_patch(study):
    run = training.prepare_finetune(study, joint="mod", settings={**SMALL, "mod_weight": 0.5}, dims=2, **TINY)
    task = task_of(study, run)
    batch = task.transform(task.sample(0), 0, torch.device("cpu"))
    plain = super(JointTask, task).transform(task.sample(0), 0, torch.device("cpu"))
    assert torch.equal(batch.label, plain.label) and torch.equal(batch.image, plain.image)
    mu = batch.pretext.targets["mu"]
    change = (mu - batch.image).flatten(1).std(dim=1) / batch.image.flatten(1).std(dim=1)
    assert (change < 0.5).all(), "mu is the augmented patch in other intensities"

    def gradients(loss):
        found = torch.autograd.grad(loss, list(task.network.parameters()), allow_unused=True)
        return [torch.zeros(()) if gradient is None else gradient for gradient in found]

    both = gradients(task.loss(batch).total)
    supervised = gradients(task.answer.loss(task.network(mu), batch.label).total)
    beside = gradients(task.method.loss(task.model, batch.pretext).total)
    for whole, first, second in zip(both, supervised, beside, strict=True):
        assert torch.allclose(whole, first + 0.5 * second, atol=1e-4, rtol=1e-3)


def test_unlabelled_scans_join_for_mod_alone(study):
    run = training.prepare_finetune(study, joint="mod", settings={**SMALL, "unlabelled": True}, dims=2, cases=2, **TINY)
    cases = run.record.cases
    train = {case.id for case in study.cases(split="train")}
    assert set(cases["train"]) | set(cases["unlabelled"]) == train and not set(cases["train"]) & set(
        cases["unlabelled"]
    )
    assert run.record.fingerprint != training.prepare_finetune(study, dims=2, cases=2, **TINY).record.fingerprint
    task = task_of(study, run)
    batch = task.transform(task.sample(0), 0, torch.device("cpu"))
    assert len(batch.image) == len(batch.label) == 2 and len(batch.pretext.inputs) == 4
    assert set(task.case_ids(batch)[2:]) <= set(cases["unlabelled"])
    drain(training.train(study, run))
    assert run.state == "finished"
    with pytest.raises(UserError, match="every scan of the train split is used"):
        training.prepare_finetune(study, joint="mod", settings={"unlabelled": True}, dims=2, **TINY)


def test_the_papers_supervised_loss_and_a_start_from_its_pretraining(study):
    parent = drain(training.pretrain(study, "mod", dims=2, settings=SMALL, **TINY))
    run = joint(study, {"supervised": "focal_dice"}, init=parent.id)
    weights = run.latest("weights").data
    assert run.record.title.startswith("MOD (3 settings changed) + MOD")
    assert all("encoder" in name for name in weights["loaded"]) and not weights["skipped"]
    assert any("decoder" in name for name in weights["random"])
    assert {"focal", "dice", "seg"} < run.latest("step").data["losses"].keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"joint": "simmim"}, "SimMIM cannot be trained jointly with labels, only before them; joint methods: mod"),
        ({"joint": "mood"}, "there is no method 'mood'"),
        ({"settings": {"alpha": 1}}, "the setting 'alpha' belongs to no method"),
        ({"joint": "mod", "settings": {"alpha": -1}}, "setting alpha of method mod"),
        ({"joint": "mod", "network": "dynunet"}, "unet or unetr or swin_unetr"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_made(study, options, words):
    with pytest.raises(UserError) as caught:
        training.prepare_finetune(study, dims=2, **{**TINY, **options})
    assert words in str(caught.value)
    assert not study.runs()


@pytest.mark.parametrize("kind", ["joint", "pretrain"])
def test_a_run_that_collapses_says_so_once(study, monkeypatch, kind):
    monkeypatch.setattr(mod_gauge, "WINDOW", 3)
    # At a temperature of 1 cosines in 64 dimensions are all alike: every token goes to all prototypes, and nothing moves.
    warm = dict.fromkeys(("first_temperature", "last_temperature", "student_temperature"), 1.0)
    forced = {**SMALL, **warm, "bottleneck": 64, "frozen": 1.0}
    options = {**TINY, "iterations": 12, "train": {**TINY["train"], "learning_rate": 1e-6}}
    if kind == "joint":
        run = joint(study, forced, dims=2, **options)
    else:
        run = drain(training.pretrain(study, "mod", dims=2, settings=forced, **options))
    said = [event.data["message"] for event in run.events() if event.kind == "warning"]
    (collapse,) = (text for text in said if "MOD has collapsed" in text)
    assert "all 12 prototypes alike" in collapse


def test_the_inspector_looks_through_a_joint_run(study):
    run = joint(study, dims=2)
    found = inspect(study, "mod", study.cases()[0].id, spec=training.load_segmentation(run)[1], run=run)
    names = [view.name for view in found.views]
    assert names[:4] == ["scan", "mu", "nu", "hidden_mu"] and {"segmentation", "pasted", "gauge", "shares"} < set(names)
    shares = next(view.data for view in found.views if view.name == "shares")
    assert next(iter(shares)) == "share of seg" and sum(shares.values()) == pytest.approx(1.0)
    segmented = next(view.data for view in found.views if view.name == "segmentation")
    assert set(segmented.unique().tolist()) <= {0, 1, 2}


def test_the_command_line_trains_jointly(study, capsys):
    arguments = ["finetune", str(study.folder), "--cases", "2", "--joint", "mod", "--dims", "2", "--iterations", "2"]
    arguments += ["--batch-size", "2", "--device", "cpu", "--train", "threads=1", "preview_seconds=0"]
    settings = [f"{name}={value}" for name, value in SMALL.items()]
    assert main([*arguments, "--set", *settings, "mod_weight=0.001", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    record = study.run(answer["run"]).record
    assert answer["state"] == "finished" and record.joint == "mod" and record.config["mod_weight"] == 0.001
    assert main(["finetune", str(study.folder), "--set", "alpha=1"]) == 2
    assert "belongs to no method" in capsys.readouterr().err
