"""The two ways a run can end badly, told apart so that each gets its own exit code."""


class BadInput(ValueError):  # noqa: N818 - reads as the message it prints
    """Something the user gave cannot be used. One line: what, where, found, expected, remedy (exit 2)."""


class BlocksFailed(RuntimeError):  # noqa: N818 - reads as the message it prints
    """Some blocks of a stage did not finish; the same command again retries only these (exit 1)."""
