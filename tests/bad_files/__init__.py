"""A generator of malformed, odd and hostile files, each with what must become of it."""

from tests.bad_files.corpus import CORPUS, of_kind
from tests.bad_files.entry import BadFile

__all__ = ["CORPUS", "BadFile", "of_kind"]
