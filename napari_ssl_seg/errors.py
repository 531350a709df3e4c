"""Errors that a user can cause or mend.

Each message is one sentence that says what is wrong, in which file or field, and what to do. The command line prints it
after ``error:`` and exits with 2; the window shows it as it stands. Anything else that is raised is a defect of ours.
"""

from __future__ import annotations


class UserError(Exception):
    """Base of every error whose message is meant for the user."""


class DiskFull(UserError):
    """Something was not written because there was no room for it; what was there before is unharmed."""


class VolumeError(UserError):
    """A file cannot be read or written as a volume."""


class StudyError(UserError):
    """A study cannot be made, opened or used as asked."""


class LeakageError(StudyError):
    """A scan of the test split was about to be used for training or for choosing a checkpoint."""


class RunError(UserError):
    """A run cannot be started, found, resumed or read."""


class TrainingFailed(UserError):
    """Training stopped by itself: out of memory, not a finite loss, disk full.

    Deliberately not a RuntimeError: superqt's workers swallow those (napari 0.9, superqt 0.9).
    """
