"""Errors that the user can mend."""


class InputError(ValueError):
    """Data, weights or settings that cannot be used; the message names them and says why.

    The command line prints the message alone, without a traceback.
    """


class MissingPackageError(ImportError):
    """An optional package is not installed; the message says how to install it."""


class DownloadError(RuntimeError):
    """Something could not be fetched; the message says from where and what to do instead."""
