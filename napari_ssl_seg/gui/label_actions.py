"""What the buttons and keys of the Label tab do."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.label_efficiency import EfficiencyCurve
from napari_ssl_seg.gui.label_prompts import PromptTool, prompts_problem
from napari_ssl_seg.gui.label_proposal import ProposalLayer
from napari_ssl_seg.gui.label_rounds import fetch_proposal
from napari_ssl_seg.gui.label_tools import EMBEDDING
from napari_ssl_seg.workbench import labelling_next as next_
from napari_ssl_seg.workbench import labelling_states as states_
from napari_ssl_seg.workbench.labelling_proposal import Proposing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.annotation import Proposal
    from napari_ssl_seg.gui.label_tab import LabelTab
    from napari_ssl_seg.study import Study

BETWEEN = "fill between"


class LabelActions:
    """Joins the widgets of the tab to what they mean."""

    def __init__(self, tab: LabelTab) -> None:
        self._tab, self._bench, self._hand = tab, tab._workbench, tab.labelling
        self.proposing = Proposing(tab.labelling, self._write)
        self.prompt = PromptTool(tab._viewer, self._bench, tab.labelling, tab.layer, tab)
        self.proposal_layer = ProposalLayer(tab._viewer, self._bench, tab.labelling, tab.layer, self.proposing)
        self.efficiency = EfficiencyCurve(self._bench, tab.strip, tab)
        self._wanted: tuple[str, int | None, str | None] | None = None
        self._filling: workers.Task | None = None

    def connect(self) -> None:
        """Hear of buttons and keys."""
        tab, page, hand = self._tab, self._tab.page, self._hand
        page.classes.taken.connect(hand.take)
        page.classes.locked.connect(hand.protect)
        page.classes.shown.connect(lambda value, on: tab.hide_class(value, not on))
        page.classes.renamed.connect(lambda value, name: self.change_class(value, name=name))
        page.classes.recoloured.connect(lambda value, color: self.change_class(value, color=color))
        page.classes.counted.connect(lambda value, on: self.change_class(value, lesion=on))
        page.classes.added.connect(self.add_class)
        tools = page.tools
        tools.region_asked.connect(tab.region.take)
        tools.prompt_asked.connect(self.prompt.take)
        tools.between_asked.connect(self.fill_between)
        tools.stepped.connect(tab.region.step)
        tools.source_chosen.connect(self._source_chosen)
        tools.overwrite_asked.connect(hand.set_overwrite)
        tab.region.in_hand_changed.connect(self._region_in_hand)
        self.prompt.in_hand_changed.connect(self._prompt_in_hand)
        tab.region.told.connect(tools.say)
        self.prompt.told.connect(tools.say)
        self.prompt.answered.connect(lambda _on: self.show_proposal())
        self.proposing.changed.connect(self.show_proposal)
        page.proposal.accepted.connect(self.accept)
        page.proposal.refused.connect(self.refuse)
        page.slice.checked.connect(self.check)
        page.slice.flagged.connect(self.flag)
        page.next.go_asked.connect(self.go)
        page.next.skip_asked.connect(self.skip)
        page.next.suggest_asked.connect(tab.rounds.suggest)
        page.next.round_asked.connect(tab.rounds.start)
        page.next.strategy.edited.connect(self._strategy_chosen)
        tab.rounds.busy.connect(page.next.show_busy)
        tab.rounds.suggested.connect(self.go)
        tab.rounds.noted.connect(self.efficiency.show)
        page.files.follow(self._bench, hand)
        page.files.restored.connect(tab.read_again)
        page.next.show_next(tab.following)
        self._bind_keys()

    def _bind_keys(self) -> None:
        tab, keys, tools = self._tab, self._tab.keys, self._tab.page.tools
        for place in range(1, 10):
            keys.bind(f"class {place}", partial(self.take_class, place))
        keys.bind("region", lambda: tab.region.take(not tab.region.in_hand))
        keys.bind("prompt", lambda: self.prompt.take(not self.prompt.in_hand) if tools.prompt.isEnabled() else None)
        keys.bind("finer", lambda: tab.region.step(1))
        keys.bind("coarser", lambda: tab.region.step(-1))
        keys.bind("between", self.fill_between)
        keys.bind("accept", lambda: self.accept("slice"))
        keys.bind("accept_region", lambda: self.accept("region"))
        keys.bind("refuse", lambda: self.refuse("slice"))
        keys.bind("checked", self.check)
        keys.bind("flag", self.flag)
        keys.bind("go", self.go)
        keys.bind("skip", self.skip)
        keys.bind("next", tab.rounds.start)

    # -- classes --------------------------------------------------------------------------------------------------
    def take_class(self, place: int) -> None:
        """Take the class in that line of the list (1 is the first)."""
        classes = self._bench.classes
        if place <= len(classes):
            self._hand.take(classes[place - 1].value)

    def add_class(self) -> None:
        """Add a class, and let its name be written."""
        made = self.change_class(None)
        if made is not None:
            self._hand.take(made.value)
            self._tab.page.classes.edit_name(made.value)

    def change_class(self, value: int | None, **changes: Any) -> Any:
        """Rename, recolour or mark a class, or add one; what cannot be is said."""
        made = None
        try:
            made = self._hand.set_class(value, **changes)
        except UserError as error:
            self._bench.fail(error)
        self._tab.recolour()
        return made

    # -- tools ----------------------------------------------------------------------------------------------------
    def put_down(self) -> None:
        """No tool of ours is in hand."""
        self.prompt.take(False)

    def _region_in_hand(self, on: bool) -> None:
        self._tab.page.tools.region.setChecked(on)
        if on:
            self.prompt.take(False)
            self._tab.region.take()
        self._tab.effort.tool = "region" if on else ""

    def _prompt_in_hand(self, on: bool) -> None:
        self._tab.page.tools.prompt.setChecked(on)
        if on:
            self._tab.region.take(False)
            self.prompt.take()
        self._tab.effort.tool = "prompt" if on else ""
        self.show_proposal()

    def _source_chosen(self, source: str) -> None:
        if source.startswith(EMBEDDING):
            self._tab.region.set_source("embedding", source.removeprefix(EMBEDDING))
        else:
            self._tab.region.set_source(source)

    def _write(self, boxes: Sequence[Any], tool: str) -> int:
        if not self._tab.layer.alive:
            return 0
        with self._tab.layer.stroke(tool):
            return self._tab.layer.write(boxes)

    def fill_between(self) -> None:
        """Propose what lies between the slices that are labelled."""
        case = self._hand.case
        if case is None or not self._hand.writable or self._filling is not None:
            return
        known = [z for z in range(len(case.states)) if case.states[z] in states_.TRAINED]
        gaps = [z for first, last in pairwise(known) for z in range(first + 1, last)]
        if not gaps:
            self._bench.say("Label two slices with at least one between them; then it can be filled.", "warning")
            return
        self._tab.page.tools.say("Filling between the labelled slices …")
        self._filling = workers.run(
            _fill_between,
            case.labels.copy(),
            known,
            case.spacing,
            case.case_id,
            on_result=self._filled,
            on_error=self._bench.fail,
            on_done=self._filling_done,
            owner=self._tab,
        )

    def _filled(self, proposal: Proposal) -> None:
        self.proposing.show(proposal)

    def _filling_done(self) -> None:
        self._filling = None
        self._tab.page.tools.say("")

    # -- proposals ------------------------------------------------------------------------------------------------
    def show_proposal(self) -> None:
        """Say what waits."""
        if not isalive(self._tab):
            return
        here = self._bench.slice_index
        if self.prompt.mask is not None:
            self._tab.page.proposal.show_words("Accept draws what lights up; refuse forgets it.", here=True)
        else:
            self._tab.page.proposal.show_words(self.proposing.words(here), here=here in self.proposing.slices)

    def states_changed(self) -> None:
        """The slice or its state is another."""
        self.show_proposal()
        self.prompt.look()
        after = self._tab.page.next.after.value()
        if after and self._hand.newly_checked >= after and not self._tab.rounds.going:
            self._tab.rounds.start()

    def accept(self, what: str) -> None:
        """Draw what is proposed: slice, class, region or all; the answer to a prompt first."""
        here = self._bench.slice_index
        if self.prompt.mask is not None:
            self.prompt.accept()
        elif what == "slice":
            self.proposing.accept_slice(here)
        elif what == "class":
            self.proposing.accept_class(self._hand.value)
        elif what == "all":
            self.proposing.accept_all()
        elif self._tab.region.region is not None:
            self.proposing.accept_region(here, self._tab.region.region)
        elif self.proposing.proposal is not None:
            self._bench.say("Take the tool Region, and point at the region whose proposal is to be drawn.", "warning")

    def refuse(self, what: str) -> None:
        """Take a slice, or all, out of the proposal; forget the answer to a prompt."""
        if self.prompt.mask is not None or self.prompt.points:
            self.prompt.clear()
        elif what == "slice":
            self.proposing.refuse_slice(self._bench.slice_index)
        else:
            self.proposing.refuse_all()

    # -- slices ---------------------------------------------------------------------------------------------------
    def check(self) -> None:
        self._say_of_slice(states_.CHECKED)

    def flag(self) -> None:
        self._say_of_slice(states_.FLAGGED)

    def _say_of_slice(self, state: int) -> None:
        here = self._bench.slice_index
        self._hand.toggle(here, state)
        self._tab.effort.moved()
        if here < len(self._hand.states) and self._hand.states[here] == state:
            self._tab.following.drop(self._bench.case_id or "", here)

    # -- next -----------------------------------------------------------------------------------------------------
    def go(self) -> None:
        """Open what is next, with what a run proposes there."""
        first = self._tab.following.first
        if first is None or self._bench.study is None:
            return
        self._wanted = (first.case_id, first.slice_index, first.run)
        try:
            self._bench.open_case(first.case_id)
        except UserError as error:
            self._bench.fail(error)
            return
        if self._hand.case is not None and self._hand.case.case_id == first.case_id:
            self.case_opened(first.case_id)

    def case_opened(self, case_id: str) -> None:
        """The labels of a scan are there; perhaps it was opened to label a slice of it."""
        study, wanted = self._bench.study, self._wanted
        if study is None or wanted is None or wanted[0] != case_id:
            return
        self._wanted = None
        _, index, run = wanted
        if index is not None:
            self._bench.set_slice(index)
        if run is not None:
            self._tab.page.tools.say("Reading the proposal …")
            fetch_proposal(self._tab, study, run, case_id, self._proposed)

    def _proposed(self, proposal: Proposal | None) -> None:
        self._tab.page.tools.say("")
        case = self._hand.case
        if proposal is None or case is None or proposal.case_id != case.case_id:
            return
        self.proposing.show(next_.without(proposal, states_.settled(case.states)))

    def skip(self) -> None:
        """Not this one now."""
        study, item = self._bench.study, self._tab.following.pass_over()
        if study is not None and item is not None:
            workers.run(next_.skip_for_now, study, item, on_error=self._bench.fail, owner=self._tab)

    def _strategy_chosen(self) -> None:
        self._tab.rounds.strategy = self._tab.page.next.strategy.value()

    # -- study ----------------------------------------------------------------------------------------------------
    def study_changed(self, study: Study | None) -> None:
        self._wanted = None
        self.prompt.take(False)
        self.prompt.session = None
        if study is not None:
            problem = prompts_problem(study)
            self._tab.page.tools.allow_prompts(not problem, problem)
        self.efficiency.clear()
        self._tab.strip.effort.show_effort([])
        self.offer_runs()

    def offer_runs(self) -> None:
        """Runs whose embeddings make regions."""
        runs = [(run.record.title or run.id, run.id) for run in self._bench.runs if run.weights_path.is_file()]
        self._tab.page.tools.set_runs(runs[-8:])


def _fill_between(labels: Any, known: list[int], spacing: tuple[float, ...], case_id: str) -> Proposal:
    from dataclasses import replace

    from napari_ssl_seg.annotation import fill_between

    return replace(fill_between(labels, known, None, spacing, case_id=case_id), source=BETWEEN)
