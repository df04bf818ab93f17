"""The two kinds of exception that a stage's loop knows; bad data is neither, it is a value (schemas.dead_letter)."""

from __future__ import annotations


class Transient(Exception):
    """A dependency does not answer now; the same call may succeed later. The stage waits and says so."""


class Fatal(Exception):
    """Nothing that this process can do will help: wrong credentials, missing topic, corrupt state. The process ends.

    The message ends with what a person should do next.
    """
