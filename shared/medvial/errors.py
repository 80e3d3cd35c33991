"""The one exception a user's mistake raises."""


class InputError(ValueError):
    """Something the user gave cannot be used: a file, a folder, an option, a manifest.

    The message says what was expected, what was got, where, and what to do. Programs print it as
    one line, without a traceback, and end with a non-zero exit code.
    """
