"""The one exception that reaches a user as a line of text instead of a traceback."""


class NmbrlError(Exception):
    """Wrong use or bad input: one line that says what is wrong and what to do.

    Commands print it to standard error and exit with status 2.
    """
