"""The errors a user can cause; every message says what was given, what is allowed, what to do."""

from __future__ import annotations


class MambaSegError(Exception):
    """Something the user can mend; the command line prints it in one line and exits with 2."""


class FileError(MambaSegError):
    """A file or folder cannot be read or written as asked."""


class VolumeError(MambaSegError):
    """A volume or label map that cannot be used: shape, geometry, values or channels."""


class ModelError(MambaSegError):
    """A model that is unknown, damaged or does not fit the request."""


class DeviceError(MambaSegError):
    """A device or back end was forced that this machine does not offer."""


class DataSetError(MambaSegError):
    """A data set folder that cannot be trained on or evaluated."""


class EngineLostError(MambaSegError):
    """The engine's process could not be started, or ended in the middle of a run."""


class EngineFaultError(MambaSegError):
    """The engine met a fault of ours; its traceback is in the log."""
