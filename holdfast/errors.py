"""The errors Holdfast raises on purpose; each says what was wrong, where, what was expected and what to do."""


class HoldfastError(Exception):
    """Something failed that is not the user's input; the command exits with 1."""

    exit_code = 1


class BadInput(HoldfastError):
    """The pipeline file, the data or a command's argument is wrong; the command exits with 2.

    `what` is the complaint; `file`, `row` (1-based data row, header not counted) and `key` (column or dotted key of
    the pipeline file) say where; `expected` and `remedy` say what would have been right and what to do.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        file: object = None,
        row: int | None = None,
        key: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.file, self.row, self.key = what, file, row, key
        self.expected, self.remedy = expected, remedy
        super().__init__(self._message())

    def _message(self) -> str:
        place = ", ".join(
            part
            for part in (
                str(self.file) if self.file is not None else "",
                f"row {self.row}" if self.row is not None else "",
                f"key `{self.key}`" if self.key else "",
            )
            if part
        )
        message = f"{place}: {self.what}" if place else self.what
        if self.expected:
            message += f"; expected {self.expected}"
        return f"{message}. {self.remedy}" if self.remedy else message


class Corrupt(HoldfastError):
    """A file's bytes do not match the digest recorded for them; nothing of it was used."""


class Diverged(HoldfastError):
    """Training met a NaN or an exploding loss; the message names the step and the last good checkpoint."""


class DiskFull(HoldfastError):
    """A disk, a quota or a file's largest size was used up; the message names the folder and what is kept."""


class OutOfMemory(HoldfastError):
    """Memory ran out; the message says which settings use less."""


class Conflict(HoldfastError):
    """A compare-and-set lost: someone else promoted first. Names the generation expected and the one met."""


class Fenced(Conflict):
    """The run's place was taken by another one while it stood still; from then on it writes nothing."""
