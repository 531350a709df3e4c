"""A run in this window: napari's worker over the core's generator of events.

Unlike other workers it is never cut off: whoever asks it to quit (Stop, napari closing its window) asks the run to save
and stop at its next step, and the run then returns by itself. superqt would drop the generator at a yield, unsaved.
"""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker, create_worker

from napari_ssl_seg.errors import TrainingFailed
from napari_ssl_seg.gui.workers import _Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run

_heap_lock = threading.Lock()
_runs_going_on = 0
_going_on: weakref.WeakSet[TrainingWorker] = weakref.WeakSet()


@dataclass(frozen=True)
class _Ending:
    """How it ended; an exception returned by itself would be raised by superqt."""

    error: Exception | None = None


class TrainingWorker(GeneratorWorker):
    """A worker that stops by saving."""

    run_folder: Run | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ended = threading.Event()

    def quit(self) -> None:
        """Ask the run to save and stop at its next step."""
        if self.run_folder is not None and not self.ended.is_set():
            self.run_folder.request_pause(False)
            self.run_folder.request_stop()

    def work(self) -> Any:
        """As in superqt, and say when it is over, also when no event loop is left to say it to."""
        try:
            return super().work()
        finally:
            self.ended.set()


def start(
    study: Study,
    run: Run,
    done: Callable[[BaseException | None], None],
    *,
    train: Callable[[Study, Run], Generator[Event, None, Run]] | None = None,
    warm_up: Callable[[], None] | None = None,
) -> TrainingWorker:
    """Train ``run`` in a thread; ``done`` is called in this one when it has ended, with what it raised or None.

    Nothing but the end is delivered: what the run says is read from its folder, as with every other run.
    """
    _Filters.enter()
    worker = create_worker(
        _follow,
        study,
        run,
        train,
        warm_up,
        _start_thread=False,
        _worker_class=TrainingWorker,
        _connect={"returned": lambda ending: done(ending.error), "finished": _Filters.leave},
    )
    worker.run_folder = run
    _going_on.add(worker)
    worker.start()
    return worker


def stop_and_wait(seconds: float) -> bool:
    """Ask every run of this process to save and stop, and wait; returns whether all have ended."""
    workers = [worker for worker in _going_on if not worker.ended.is_set()]
    for worker in workers:
        worker.quit()
    return all(worker.ended.wait(seconds) for worker in workers)


def _follow(
    study: Study,
    run: Run,
    train: Callable[[Study, Run], Generator[Event, None, Run]] | None,
    warm_up: Callable[[], None] | None,
) -> Generator[None, None, _Ending]:
    """What the thread runs. Errors are handed over: superqt swallows RuntimeError, and CUDA out of memory is one."""
    yield
    try:
        warm_up = warm_up or _core("training", "warm_up")
        warm_up()
        train = train or _core("training", "train")
        with steady_heap():
            settled = False
            for event in train(study, run):
                if event.kind == "step" and not settled:
                    gc.freeze()  # also what the first step has imported
                    settled = True
                yield  # at most 20 times a second: the core's own pace
    except (RuntimeError, MemoryError) as error:
        return _Ending(_explained(error))
    except Exception as error:
        return _Ending(error)
    return _Ending()


@contextmanager
def steady_heap() -> Iterator[None]:
    """Keep Python's garbage collector from looking through everything while a run goes on in a thread.

    A full collection holds every thread for 0.2-0.5 s once torch and napari are loaded. What exists when the run starts
    is left out of collections until the last run has ended; what is made meanwhile is collected as ever.
    """
    global _runs_going_on
    with _heap_lock:
        if _runs_going_on == 0:
            gc.freeze()
        _runs_going_on += 1
    try:
        yield
    finally:
        with _heap_lock:
            _runs_going_on -= 1
            if _runs_going_on == 0:
                gc.unfreeze()


def _core(module: str, name: str) -> Callable[..., Any]:
    """A function of the core's, which imports torch: fetched in the thread."""
    return getattr(import_module(f"napari_ssl_seg.{module}"), name)


def _explained(error: Exception) -> TrainingFailed:
    """What broke around the core's loop, which explains its own errors, as a sentence with what to do."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(words in text.lower() for words in ("out of memory", "can't allocate")):
        failed = TrainingFailed(
            "the device ran out of memory; lower the batch size, choose a smaller preset, or another device"
        )
    else:
        failed = TrainingFailed(
            f"training broke off ({text or type(error).__name__}); resume it from its last checkpoint"
        )
    failed.__cause__ = error
    return failed
