"""Why an object cannot become an entry."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure
    """The object cannot be said in the language.

    ``text`` says why; ``detail`` what of the object it is about; ``codes`` are those of the
    rules that object, each with the place in the entry.
    """

    def __init__(self, text: str, detail: str = "", codes: tuple[str, ...] = ()) -> None:
        super().__init__(f"{text}: {detail}" if detail else text)
        self.text = text
        self.codes = codes
