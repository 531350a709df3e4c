"""The command line: the same verbs as the window, for scripts and clusters.

Here are only the words; what they do is in `napari_ssl_seg.commands`, loaded when a verb is used. Every verb returns a
plain mapping: printed as one JSON object with ``--json``, as readable text without.

Exit status: 0 done; 2 a mistake of the caller's, with one line ``error: ...``; 130 stopped by Ctrl-C, the run resumable.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence


TARGETS_HELP = "overlapping targets in place of classes: 'whole tumour=1,2,4' 'tumour core=1,4', or a YAML or JSON file with such a mapping"


class _Parser(argparse.ArgumentParser):
    """Says a mistake in one line, as the contract has it, and points at the help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see `{self.prog} --help`)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    options = vars(_parser().parse_args(arguments))
    as_json, home = options.pop("json"), options.pop("home")
    options.pop("verb")
    try:
        module, function = home.split(":")
        run = getattr(import_module(f"napari_ssl_seg.commands.{module}"), function)
        result = run(**options)
        if os.environ.get("RANK", "0") in ("", "0"):  # of several processes that train together the first speaks
            _say(_text(result, as_json))
    except UserError as error:
        if as_json:
            print(json.dumps({"error": str(error)}))
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        goes_on = "stopped; `napari-ssl-seg runs STUDY` lists the runs, `resume` goes on"
        print(stopped.args[0] if stopped.args else goes_on, file=sys.stderr)
        return 130
    return 0


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stdout = None  # type: ignore[assignment]


def _text(result: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(result, allow_nan=False, default=str)
    from napari_ssl_seg.commands.text import render

    return render(result)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="napari-ssl-seg", description=__doc__.splitlines()[0] if __doc__ else None)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, home: str, text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.add_argument("--json", action="store_true", help="print one JSON object; progress goes to standard error")
        sub.set_defaults(home=home)
        return sub

    create = verb("create", "studies:create", "Make a study from scans and, where there are some, labels.")
    create.add_argument("study", help="the new folder")
    create.add_argument("--images", nargs="+", required=True, metavar="DIR|FILE", help="a folder, or files")
    create.add_argument("--labels", metavar="DIR", help="label maps, paired with the scans by name")
    create.add_argument("--split", default="70,10,20", help="per cent of train, validation, test [%(default)s]")
    create.add_argument("--seed", type=int, default=0)
    create.add_argument("--groups", metavar="REGEX", help="scans whose names share this match stay in one split")
    create.add_argument("--normalisation", default="percentile", help="by name [%(default)s]")
    create.add_argument("--four-d", choices=("channels", "time"), default="channels", help="what a 4th axis means")
    create.add_argument(
        "--sparse-labels", action="store_true", help="axial slices without any label are unlabelled, not background"
    )

    create.add_argument("--targets", nargs="+", metavar="NAME=VALUES|FILE", help=TARGETS_HELP)
    create.add_argument(
        "--lesions", nargs="+", type=int, metavar="LABEL", help="classes of lesions, which evaluate then counts, too"
    )

    info = verb("info", "studies:info", "What a study holds.")
    info.add_argument("study")

    verb("methods", "studies:methods", "The pretext methods with every hyper-parameter.")
    verb("doctor", "doctor:doctor", "What works on this machine, and how to mend what does not.")

    regions = verb(
        "regions", "regions:prepare", "Make the regions (sub-masks, superpixels) of a study's scans; Ctrl-C, and go on."
    )
    regions.add_argument("study")
    regions.add_argument("--source", choices=("auto", "sam", "felzenszwalb", "slic", "masks"), help="[auto]")
    regions.add_argument("--checkpoint", metavar="FILE", help="weights of Segment Anything")
    regions.add_argument("--model-type", metavar="NAME", help="vit_b, vit_l, vit_h or medsam_vit_b [vit_b]")
    regions.add_argument("--split", choices=("train", "all"), default="train", help="[%(default)s]")
    regions.add_argument("--alpha", type=float, default=0.95, help="share of the area that K is for [%(default)s]")
    regions.add_argument(
        "--fetch", metavar="NAME", help="download public weights of Segment Anything, and nothing else"
    )
    regions.add_argument("--yes", action="store_true", help="agree to address, size and licence, which are shown first")
    _setting_options(regions)

    places = verb(
        "anatomy",
        "anatomy:anatomy",
        "Find the same anatomical point in another scan; trains a Self-supervised Anatomical eMbedding first.",
    )
    places.add_argument("study")
    places.add_argument("action", nargs="?", choices=("prepare", "match"), default="prepare", help="[%(default)s]")
    places.add_argument("case", nargs="?", help="for match")
    places.add_argument("point", nargs="?", metavar="z,y,x", help="in voxels of the case")
    places.add_argument("other", nargs="?", help="the case in which it is looked for")
    places.add_argument("--matcher", choices=("auto", "embedding", "affine", "same_field"), help="[auto]")
    places.add_argument("--out", metavar="DIR", help="write both crops and the map of similarity as PNG")
    places.add_argument("--size", type=float, metavar="MM", help="side of the crops [a third of the scan]")
    _setting_options(places, "of the matcher")

    look = verb(
        "inspect", "inspection:inspect_case", "Write what a method would train on: a PNG a view, tensors, stats."
    )
    look.add_argument("study")
    look.add_argument("--method", required=True)
    look.add_argument("--case", required=True)
    look.add_argument("--slice", dest="slice_index", type=int, help="axial index [the middle]")
    look.add_argument("--seed", type=int, default=0)
    look.add_argument("--out", required=True, metavar="DIR")
    look.add_argument("--run", help="show what this run makes of it, too")
    _network_options(look)
    _setting_options(look)

    pretrain = verb("pretrain", "training:pretrain", "Pretrain a network on the unlabelled scans of the train split.")
    pretrain.add_argument("study")
    pretrain.add_argument("--method", required=True)
    _network_options(pretrain)
    _training_options(pretrain)
    _setting_options(pretrain)

    finetune = verb("finetune", "training:finetune", "Fine-tune on labels, from a run or from scratch.")
    finetune.add_argument("study")
    finetune.add_argument("--init", default="scratch", metavar="RUN|scratch")
    finetune.add_argument("--cases", metavar="N|P%", help="how many labelled scans to use [all]")
    finetune.add_argument("--slices", type=int, metavar="N", help="how many labelled slices to use [all]")
    finetune.add_argument(
        "--joint", metavar="NAME", help="train this method beside the labels, at each step: mod [none]"
    )
    _network_options(finetune)
    _training_options(finetune)
    _setting_options(finetune, "of the joint method")

    resume = verb("resume", "training:resume", "Go on with a stopped run.")
    resume.add_argument("study")
    resume.add_argument("run")
    resume.add_argument("--iterations", type=int, help="train up to this many steps instead of those first asked for")

    repeat = verb("repeat", "training:repeat", "Train a run once more from its record, and say what differs.")
    repeat.add_argument("study", metavar="STUDY|RUN", help="the study, or the folder of the run")
    repeat.add_argument("run", nargs="?", help="where a study was named")

    job = verb("job", "training:job", "Run a training from a file that the tab Train wrote; run again, it goes on.")
    job.add_argument("file")
    job.add_argument("--slurm", action="store_true", help="write a SLURM script beside it instead, and submit nothing")
    job.add_argument("--gpus", type=int, default=1, help="of each machine, for --slurm [%(default)s]")
    job.add_argument("--nodes", type=int, default=1, help="for --slurm [%(default)s]")
    job.add_argument("--hours", type=float, default=24.0, help="for --slurm [%(default)s]")
    job.add_argument("--partition", help="for --slurm")

    stop = verb("stop", "training:stop", "Ask a run, wherever it goes on, to save and stop.")
    stop.add_argument("study")
    stop.add_argument("run")

    runs = verb("runs", "training:runs", "The runs of a study.")
    runs.add_argument("study")

    predict = verb("predict", "scoring:predict", "Segment scans of the study, or any others, with a fine-tuned run.")
    predict.add_argument("study")
    predict.add_argument("--run", required=True)
    predict.add_argument("--split", choices=("train", "validation", "test", "all"), default="test")
    predict.add_argument("--images", nargs="+", metavar="DIR|FILE", help="scans outside the study")
    predict.add_argument("--out", metavar="DIR", help="where their predictions go")
    predict.add_argument("--probabilities", action="store_true", help="keep the probability of every class, too")
    predict.add_argument("--device", default="auto")

    evaluate = verb("evaluate", "scoring:evaluate", "Score predictions: Dice, ASSD and more, a row a case and label.")
    evaluate.add_argument("study", nargs="?")
    evaluate.add_argument("--run", dest="runs", nargs="+", action="extend", metavar="RUN", help="[all fine-tuned runs]")
    evaluate.add_argument("--split", choices=("train", "validation", "test"), default="test")
    evaluate.add_argument("--pred", metavar="DIR", help="predictions from elsewhere, paired with --ref by name")
    evaluate.add_argument("--ref", metavar="DIR", help="their references")
    evaluate.add_argument("--csv", metavar="FILE")
    evaluate.add_argument(
        "--targets", nargs="+", metavar="NAME=VALUES|FILE", help="as for create; with --pred and --ref"
    )
    evaluate.add_argument(
        "--lesions",
        nargs="+",
        type=int,
        metavar="LABEL",
        help="labels whose connected parts are lesions: count those, too; by default those that the study marks",
    )
    evaluate.add_argument(
        "--resample",
        action="store_true",
        help="bring predictions on another grid to the reference's, instead of refusing",
    )

    drawn = verb(
        "labels", "labels:labels", "What was drawn: states, history, effort; publish, export, import, restore."
    )
    drawn.add_argument("study")
    actions = ("status", "publish", "export", "history", "effort", "import", "restore")
    drawn.add_argument("action", nargs="?", choices=actions, default="status", help="[%(default)s]")
    drawn.add_argument("cases", nargs="*", metavar="CASE", help="[all that were labelled]")
    drawn.add_argument("--out", metavar="DIR|FILE", help="for export; for effort, a CSV file")
    formats = ("nii.gz", "nii", "nrrd", "mha", "dcm")
    drawn.add_argument(
        "--format", dest="file_format", choices=formats, default="nii.gz", help="dcm: a DICOM Segmentation"
    )
    drawn.add_argument("--file", help="for import: a label map")
    drawn.add_argument("--entry", type=int, metavar="N", help="for restore: of the history")
    drawn.add_argument("--delete", action="store_true", help="for effort: forget it")

    embed = verb("embed", "embedding:embed", "Vectors of slices or patches by a run's encoder, and a map of them.")
    embed.add_argument("study")
    embed.add_argument("--run", required=True)
    embed.add_argument("--what", choices=("slices", "patches"), default="slices", help="[%(default)s]")
    embed.add_argument("--map", dest="projection", choices=("pca", "umap"), default="pca", help="[%(default)s]")
    embed.add_argument("--most", type=int, default=5000, help="vectors at most, evenly chosen [%(default)s]")
    embed.add_argument("--out", required=True, metavar="DIR")
    embed.add_argument("--device", default="auto")

    suggest = verb("suggest", "suggesting:suggest", "What to label next: slices or scans, each with its reason.")
    suggest.add_argument("study")
    strategies = ("mixed", "diversity", "uncertainty", "disagreement", "expected_error", "random")
    suggest.add_argument("--strategy", choices=strategies, default="mixed", help="[%(default)s]")
    suggest.add_argument(
        "--run", dest="runs", nargs="+", action="extend", metavar="RUN", help="[what suits the strategy]"
    )
    suggest.add_argument("--count", type=int, default=10, metavar="N", help="[%(default)s]")
    suggest.add_argument("--unit", choices=("slice", "case"), default="slice", help="[%(default)s]")
    suggest.add_argument("--purpose", choices=("label", "validation"), default="label", help="[%(default)s]")
    suggest.add_argument("--variation", choices=("tta", "dropout", "none"), default="tta", help="[%(default)s]")
    suggest.add_argument("--seed", type=int, default=0)
    suggest.add_argument("--device", default="auto")

    compare = verb(
        "compare", "scoring:compare", "Pretrain, fine-tune, predict and score several methods; write a report."
    )
    compare.add_argument("study")
    compare.add_argument(
        "--methods",
        required=True,
        help="comma-separated: scratch, NAME, NAME:KEY=VALUE, NAME:ablation; START@NETWORK: on a network of its own;"
        " START+mod: fine-tuned jointly with MOD",
    )
    compare.add_argument(
        "--cases", type=whole_numbers, required=True, metavar="N[,N...]", help="labelled scans to fine-tune on"
    )
    compare.add_argument("--repeats", type=int, default=3, help="label draws and seeds [%(default)s]")
    compare.add_argument("--out", required=True, metavar="DIR")
    compare.add_argument("--pretrain-iterations", type=int)
    compare.add_argument("--finetune-iterations", type=int)
    compare.add_argument(
        "--predictions",
        nargs="+",
        metavar="NAME=DIR",
        help="another framework's label maps of the test scans, named like the scans, as further rows",
    )
    _network_options(compare)
    compare.add_argument("--device", default="auto")

    download = verb("download", "datasets:download", "Fetch a public data set by name, or list those known.")
    download.add_argument("name", nargs="?")
    download.add_argument("--out", metavar="DIR")
    download.add_argument(
        "--accept-licence", action="store_true", help="the licence is printed first; this agrees to it"
    )

    phantoms = verb("phantoms", "datasets:phantoms", "Make a folder of phantom scans with labels.")
    phantoms.add_argument("out", metavar="DIR")
    phantoms.add_argument("--kind", choices=("cardiac", "abdomen"), default="cardiac")
    phantoms.add_argument("--subjects", type=int, default=24)
    phantoms.add_argument("--seed", type=int, default=0)

    window = verb("open", "window:open_study", "Open a study in napari.")
    window.add_argument("study")

    demo = verb("demo", "demo:demo", "Run the whole circle on bundled scans; with a screen, open the window on it.")
    demo.add_argument("--out", default="demo_output", metavar="DIR")
    demo.add_argument("--no-window", action="store_true", help="screenshots and a report only, even with a screen")
    return parser


def _network_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    group.add_argument(
        "--network",
        metavar="NAME",
        help="unet, unet_pair, pctnet, unetr, swin_unetr, dynunet; options may follow: pctnet:window=4 [unet]",
    )
    group.add_argument("--preset", help="[small]")
    group.add_argument("--dims", type=int, choices=(2, 3), help="slices or volumes [what suits the scans]")


def _training_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--iterations", type=int, metavar="N")
    group.add_argument("--batch-size", type=int)
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument(
        "--train", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="any other setting of the training"
    )


def _setting_options(parser: argparse.ArgumentParser, whose: str = "of the method") -> None:
    parser.add_argument(
        "--set",
        dest="settings",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"hyper-parameters {whose}; `napari-ssl-seg methods` lists them",
    )


def whole_numbers(text: str) -> tuple[int, ...]:
    """``2,5,10`` as numbers from 1 on, for argparse."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers from 1 on; write for example 2,5,10")
    return numbers


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``["k=4", "range=[10, 40]"]`` as a mapping; values are read as YAML scalars and lists.

    Raises
    ------
    UserError
        Where a pair has no ``=`` or its value is not YAML.
    """
    import yaml

    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UserError(f"{pair!r} is not KEY=VALUE; write for example --set mask_ratio=0.6")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
            raise UserError(f"the value of {key.strip()!r} cannot be read: {value!r}") from error
    return settings


if __name__ == "__main__":
    sys.exit(main())
