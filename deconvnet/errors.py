"""The one exception that means "the user can mend this": a one-line message that says what to do."""

from __future__ import annotations

__all__ = ["DeconvnetError"]


class DeconvnetError(ValueError):
    """Input, file or device that cannot be used; the message is one line and says what to do.

    The command lines print the message and exit with status 2; a library user catches it like
    any `ValueError`.
    """
