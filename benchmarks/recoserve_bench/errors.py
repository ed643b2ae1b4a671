"""What can go wrong in a benchmark that isn't a defect of it."""

from recoserve.errors import RecoserveError


class SystemFailed(RecoserveError):
    """A system under test ended or answered nonsense; the message says which, and its last words."""
