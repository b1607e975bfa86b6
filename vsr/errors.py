"""The few ways in which VSR fails. Each message is one line: what, which file or value, and the remedy."""


class VsrError(Exception):
    """Base of all errors that a user can meet; ``exit_status`` is the command line's status for it."""

    exit_status = 5
    code = "error"


class UsageError(VsrError, ValueError):
    """A flag, model, scale, codec or size that VSR does not know; found before any input is opened."""

    exit_status = 2
    code = "usage"


class InputError(VsrError, OSError):
    """An input that does not exist, cannot be read, or holds no video frame."""

    exit_status = 3
    code = "input"


class OutputError(VsrError, OSError):
    """An output that cannot be written, or that exists already."""

    exit_status = 4
    code = "output"


class EngineError(VsrError, RuntimeError):
    """An engine or model that cannot run here, or failed while running."""

    exit_status = 5
    code = "engine"


class CheckError(VsrError, RuntimeError):
    """A finished output that is not what the job promised (the self-check failed)."""

    exit_status = 5
    code = "check"


class Cancelled(VsrError):
    """The caller asked the job to stop; nothing is left behind."""

    exit_status = 130
    code = "cancelled"
