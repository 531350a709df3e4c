"""The one training loop, for pretraining and fine-tuning: a generator of events.

It asks the run folder at each step whether to stop or pause, saves, and returns normally; it never lets a RuntimeError
out. A stopped run goes on bit-exactly on the CPU: batches and randomness are functions of (seed, step), and everything
else (weights, optimiser, best so far) is in the checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import DiskFull, RunError, UserError
from napari_ssl_seg.training.checkpoints import load_checkpoint, save_checkpoint
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.failures import explain, free_memory, out_of_memory
from napari_ssl_seg.training.hardware import choose_precision, limited_threads, make_fabric
from napari_ssl_seg.training.heart import Heart
from napari_ssl_seg.training.interruption import catch_signals
from napari_ssl_seg.training.meter import YIELD_SECONDS, Clock, LossMeter, NotFinite, not_finite
from napari_ssl_seg.training.optimisation import make_optimizer, schedule_factor, set_learning_rate
from napari_ssl_seg.training.prefetch import Prefetcher
from napari_ssl_seg.training.randomness import seed_step
from napari_ssl_seg.training.room import POLL_SECONDS, Log

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_ssl_seg.training.interruption import Interruption
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.training.settings import TrainSettings
    from napari_ssl_seg.training.task import Task

PAUSE_POLL = 0.1


def train_task(run: Run, task: Task[Any], settings: TrainSettings, *, device: str) -> Generator[Event, None, Run]:
    """Train ``task`` into ``run`` from its last checkpoint, or from the start, to the end or until asked to stop.

    Yields
    ------
    Event
        At most about ten steps a second, and everything else that happens.

    Raises
    ------
    UserError
        Out of memory, a loss that is not finite, a full disk, a damaged scan: whatever ended it, in one sentence.
    KeyboardInterrupt
        After a checkpoint, when Ctrl-C was pressed.
    """
    heart = Heart(run)
    try:
        with limited_threads(settings.threads), catch_signals() as interruption:
            for event in _Loop(run, task, settings, device, interruption).events():
                heart.hand_over()
                yield event
                heart.take_back()
    finally:
        heart.stop()
    if interruption.asked == "SIGINT":
        raise KeyboardInterrupt
    return run


class _Stop(Exception):
    """The run was asked to stop."""


class _Loop:
    def __init__(
        self, run: Run, task: Task[Any], settings: TrainSettings, device: str, interruption: Interruption
    ) -> None:
        self.run, self.task, self.settings, self.device_name = run, task, settings, device
        self.interruption = interruption
        self.total = settings.iterations
        self.done = 0
        self.evaluated = -1
        self.in_flight = False
        self.restored = False
        self.ranks = task.ranks
        self.log = Log(run)
        self.meter = LossMeter()
        self.last_yield = self.last_line = -math.inf
        self.last_checkpoint = self.last_preview = time.monotonic()

    # -- the course of a run --------------------------------------------------------------------------------------
    def events(self) -> Generator[Event, None, None]:
        try:
            yield from self._course()
        except _Stop:
            try:
                yield from self._end("stopped", reason=self.interruption.asked)
            except DiskFull as error:  # what was saved last stands
                raise self._failed(error) from None
        except (KeyboardInterrupt, GeneratorExit):
            with contextlib.suppress(UserError, OSError):
                self._save(export=True)
            with contextlib.suppress(OSError):
                self._say("state", state="stopped", reason="interrupted")
            raise
        except Exception as error:
            raise self._failed(error) from None

    def _course(self) -> Generator[Event, None, None]:
        together = self.ranks.size if self.ranks.size > 1 else None
        yield self._say("state", state="running", device=self.device_name, processes=together)
        if not self.ranks.first:
            self.ranks.wait()  # the first fills the caches that the others then read
        yield from self._watched(self.task.prepare())
        if self.ranks.first:
            self.ranks.wait()
        self._set_up()
        for event in [*self._restore(), *self.task.start_events()]:
            yield self._note(event)
        self.clock = Clock(self.total, sum(self._due(step) for step in range(self.done + 1, self.total + 1)))
        self.model.train()
        reason = self._reason()
        if self._due(self.done) and self.evaluated != self.done:
            reason = yield from self._evaluate()
        batches = Prefetcher(self._make, self.done, self.total)
        try:
            while reason is None and self.done < self.total:
                yield from self._obey()
                step, batch = next(batches)
                self._step(step, batch)
                for remark in self.task.remarks():
                    yield self._say("warning", message=remark)
                yield from self._tell_step()
                if self._due(self.done):
                    reason = yield from self._evaluate()
                yield from self._keep()
        finally:
            batches.close()
        yield from self._end("finished", reason=reason)

    def _set_up(self) -> None:
        import torch

        self.fabric = make_fabric(self.device_name, choose_precision(self.device_name, self.settings.precision))
        self.device = torch.device(self.device_name)
        self.on_cpu = self.device.type == "cpu"
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # patches all have one size
        self.model = self.fabric.to_device(self.task.model)
        self.optimizer = make_optimizer(self.model, self.settings)
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]

    def _restore(self) -> list[Event]:
        found = load_checkpoint(self.run.checkpoint_path("last"), self.run.checkpoint_path("previous"))
        if found is None:
            self.restored = True
            return []
        state, path, complaints = found
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.task.load_state(state["task"])
            self.done, self.evaluated = int(state["step"]), int(state["evaluated"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"the tensors in {path} do not fit the network of run {self.run.id}; start the run anew"
            ) from error
        self.restored = True
        return [Event("warning", {"message": f"{text}; going on from {path.name}"}) for text in complaints]

    def _make(self, step: int) -> Any:
        batch = self.task.sample(step)
        return self.task.transform(batch, step, self.device) if self.on_cpu else batch

    def _due(self, step: int) -> bool:
        return step > 0 and self.task.evaluation_due(step, self.total)

    # -- one step -------------------------------------------------------------------------------------------------
    def _step(self, step: int, batch: Any) -> None:
        import torch

        settings = self.settings
        factor = schedule_factor(settings.schedule, step, self.total, settings.warmup)
        self.rate = settings.learning_rate * factor
        set_learning_rate(self.optimizer, self.rate)
        seed_step(settings.seed, self.ranks.number(step), self.device)
        if not self.on_cpu:
            batch = self.task.transform(batch, step, self.device)
        with self.fabric.autocast():
            losses = self.task.loss(batch)
        total, parts = self.ranks.mean_losses(losses)
        self.meter.add(step, total, parts, self.task.case_ids(batch))
        if self.on_cpu and not math.isfinite(total.item()):
            self.meter.flush()  # raises, and names the term
        self.fabric.backward(losses.total)
        self.ranks.average_gradients(self.weights)
        if settings.clip_norm:
            norm = torch.nn.utils.clip_grad_norm_(self.weights, settings.clip_norm)
            if self.on_cpu and not math.isfinite(norm.item()):
                raise not_finite("gradient", step, self.task.case_ids(batch))
        self.in_flight = True
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.task.after_step(step, self.total)
        self.done = step + 1
        self.in_flight = False
        self.clock.step(self.done)

    def _reason(self) -> str | None:
        return self.ranks.text_of_first(self.task.should_stop() or "") or None

    def _tell_step(self) -> Generator[Event, None, None]:
        now, last = time.monotonic(), self.done == self.total
        line = last or now - self.last_line >= self.clock.line_interval() or self._due(self.done)
        if not line and now - self.last_yield < YIELD_SECONDS:
            return
        losses = self.meter.flush()
        event = self._step_event(losses)
        if line:
            self._log(self._step_event(self.meter.line_means()))
            self.last_line = now
        if last or now - self.last_yield >= YIELD_SECONDS:
            self.last_yield = time.monotonic()
            yield event

    def _step_event(self, losses: dict[str, float]) -> Event:
        data = {
            "step": self.done,
            "total": self.total,
            "losses": losses,
            "lr": self.rate,
            "rate": self.clock.rate(self.done),
            "seconds_left": self.clock.seconds_left(self.done),
        }
        return Event("step", data, self.run.id)

    # -- between steps --------------------------------------------------------------------------------------------
    def _obey(self) -> Generator[Event, None, None]:
        self._stop_together()
        if not self.ranks.any(self.run.pause_requested):
            return
        yield from self._kept(lambda: self._save(export=True))
        event = self._say("state", state="paused")
        start = time.monotonic()
        while self.ranks.any(self.run.pause_requested):
            yield event
            time.sleep(PAUSE_POLL)
            self._stop_together()
        self.clock.aside(time.monotonic() - start)
        yield self._say("state", state="running", device=self.device_name)

    def _stop_together(self) -> None:
        """Where any process was asked to, all stop, at the same step."""
        if self.ranks.any(bool(self.interruption.asked) or self.run.stop_requested):
            raise _Stop

    def _stop_if_asked(self) -> None:
        """Between steps, in `_obey`, where several processes train: they must leave at the same place."""
        if self.ranks.size == 1 and (self.interruption.asked or self.run.stop_requested):
            raise _Stop

    def _evaluate(self) -> Generator[Event, None, str | None]:
        start = time.monotonic()
        self.meter.flush()
        self.model.eval()
        outcome = yield from self._watched(self.task.evaluate())
        self.model.train()
        self.evaluated = self.done
        if outcome is not None:
            best = self.task.take_evaluation(self.done, outcome)
            data = {"step": self.done, "mean_dice": outcome.mean_dice, "dice": dict(outcome.dice), "best": best}
            data["what"] = outcome.what
            yield self._say("evaluation", **data)
            if best and self.ranks.first:
                yield from self._kept(lambda: self.task.export(best=True))
                yield from self._kept(lambda: self._save(name="best"))
                yield self._say("checkpoint", step=self.done, file="checkpoints/best.pt", best=True)
        self.clock.aside(time.monotonic() - start, evaluation=True)
        return self._reason()

    def _watched(self, events: Generator[Event, None, Any]) -> Generator[Event, None, Any]:
        """Pass progress on, not too often; give up as soon as a stop is asked for."""
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            self._stop_if_asked()
            now = time.monotonic()
            if now - self.last_yield >= YIELD_SECONDS:
                self.last_yield = now
                yield event

    def _keep(self) -> Generator[Event, None, None]:
        """Save and preview where it is time to."""
        now = time.monotonic()
        if not self.ranks.first:
            return
        if self.done < self.total and now - self.last_checkpoint >= self.settings.checkpoint_seconds:
            yield from self._kept(self._save)
            yield self._say("checkpoint", step=self.done, file="checkpoints/last.pt", best=False)
        wanted = self.settings.preview_seconds
        if wanted and (now - self.last_preview >= wanted or self.done == self.total):
            yield from self._preview()
        self.clock.aside(time.monotonic() - now)

    def _preview(self) -> Generator[Event, None, None]:
        self.model.eval()
        event = None
        with contextlib.suppress(DiskFull):  # a picture is not worth waiting for
            event = self.task.preview(self.done)
        self.model.train()
        self.last_preview = time.monotonic()
        if event is not None:
            yield self._note(event)

    def _end(self, state: str, *, reason: str | None) -> Generator[Event, None, None]:
        # Stopped while it was still preparing: nothing to save.
        if self.ranks.first and hasattr(self, "optimizer"):
            yield from self._kept(lambda: self._save(export=True))
            yield self._say("checkpoint", step=self.done, file="checkpoints/last.pt", best=False)
        self.ranks.wait()  # until all have seen what was asked for
        if self.ranks.first:
            self.run.clear_requests()
        yield self._say("state", state=state, reason=reason)

    def _kept(self, write: Callable[[], None]) -> Generator[Event, None, None]:
        """Write something. While the disk is full the run pauses, says so, and tries again until there is room."""
        waited = False
        while True:
            try:
                write()
                break
            except DiskFull as error:
                if self.interruption.asked or self.run.stop_requested:
                    raise
                if not waited:
                    yield self._say("warning", message=f"{error}; the run waits for room and then goes on")
                    event, waited = self._say("state", state="paused", reason="the disk is full"), True
            start = time.monotonic()
            yield event
            time.sleep(POLL_SECONDS)
            self.clock.aside(time.monotonic() - start)
        if waited:
            yield self._say("state", state="running", device=self.device_name)

    # -- keeping and telling --------------------------------------------------------------------------------------
    def _save(self, *, name: str = "last", export: bool = False) -> None:
        """Write a checkpoint, unless a step was broken off half-way: then the one before it stands.

        Nor where the run ended before its last checkpoint was read: random weights would take its place.
        """
        import torch

        if self.in_flight or not self.ranks.first or not self.restored:
            return
        self.meter.flush()
        norms = torch.stack([norm.double() for norm in torch._foreach_norm(list[torch.Tensor](self.weights))])
        if not bool(torch.isfinite(norms).all()):
            raise not_finite("weights", self.done, ())
        state = {
            "step": self.done,
            "evaluated": self.evaluated,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "task": self.task.state(),
        }
        previous = self.run.checkpoint_path("previous") if name == "last" else None
        save_checkpoint(self.run.checkpoint_path("best" if name == "best" else "last"), state, previous=previous)
        if name == "last":
            self.last_checkpoint = time.monotonic()
        if export:
            self.task.export(best=False)

    def _failed(self, error: Exception) -> UserError:
        """Say what went wrong, in the run folder too; keep the weights where they are still good."""
        patch = tuple(self.run.record.network.get("patch", ()))
        explained = explain(error, self.settings, self.device_name, patch)
        if not isinstance(error, NotFinite):
            with contextlib.suppress(UserError, OSError, RuntimeError):
                self._save()
        if out_of_memory(error):
            error.__traceback__ = None  # its frames hold the tensors that filled the memory
            free_memory(self, "optimizer", "model")
        with contextlib.suppress(OSError):
            self._say("error", message=str(explained))
            self._say("state", state="failed", reason=str(explained))
        return explained

    def _say(self, kind: Any, **data: Any) -> Event:
        return self._note(Event(kind, {name: value for name, value in data.items() if value is not None}))

    def _note(self, event: Event) -> Event:
        event = Event(event.kind, event.data, self.run.id, event.time)
        self._log(event)
        self.last_yield = time.monotonic()
        return event

    def _log(self, event: Event) -> None:
        if self.ranks.first:
            self.log.add(event)
