"""What can go wrong in a benchmark without being a defect of it."""

from recoserve.errors import RecoserveError


class SystemFailed(RecoserveError):
    """A system under test ended or returned nonsense; the message names it and quotes its last output."""
