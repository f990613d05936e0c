"""Function texts of game files, in a safe subset of Python whose randomness is enumerated."""

from .program import Program, ProgramError

__all__ = ["Program", "ProgramError"]
