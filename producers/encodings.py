"""Which encoding a file has: all of it is looked at before anything is sent, in bounded memory."""

from __future__ import annotations

import codecs
from typing import BinaryIO, Final

from bianhe.schemas.errors import Rejected

UTF_8: Final = "utf-8-sig"
GB18030: Final = "gb18030"

_CHUNK: Final = 1 << 20
_SAY_SO: Final = "say which one it is (--encoding gb18030, --encoding utf-8, --encoding utf-16), or save it as UTF-8"


class UnreadableFile(Rejected):
    """A file that cannot be imported as a whole; nothing of it was sent."""


def encoding_of(file: BinaryIO, asked: str | None) -> str:
    """The encoding to read a file with: the one asked for, else UTF-8 or GB18030, whichever all its bytes are.

    Leaves the file at its beginning. Raises UnreadableFile with the line where the bytes first are something else.
    """
    try:
        return _verified(file, asked) if asked else _detected(file)
    finally:
        file.seek(0)


def _verified(file: BinaryIO, asked: str) -> str:
    try:
        "".encode(asked)  # a LookupError too where it is a codec of no text, such as hex
        encoding = codecs.lookup(asked).name
    except (LookupError, ValueError) as error:
        raise UnreadableFile(f"there is no encoding {asked!r}", cure=_SAY_SO) from error
    scan = _Scan(UTF_8 if encoding == "utf-8" else encoding)
    while chunk := file.read(_CHUNK):
        scan.feed(chunk)
    scan.feed(b"", final=True)
    if scan.bad_line is not None:
        raise UnreadableFile(
            f"line {scan.bad_line} is not {asked}", cause="the file has another encoding", cure=_SAY_SO
        )
    return scan.encoding


def _detected(file: BinaryIO) -> str:
    utf_8, gb18030 = _Scan(UTF_8), _Scan(GB18030)
    replaced, understood = 0, 0
    lenient = codecs.getincrementaldecoder(UTF_8)("replace")
    while chunk := file.read(_CHUNK):
        utf_8.feed(chunk)
        gb18030.feed(chunk)
        text = lenient.decode(chunk)
        bad = text.count("\ufffd")
        replaced += bad
        understood += len(text) - len(text.encode("ascii", "ignore")) - bad
    utf_8.feed(b"", final=True)
    gb18030.feed(b"", final=True)
    if utf_8.bad_line is None:
        return UTF_8
    # UTF-8 with a few broken bytes often is valid GB18030 too, of other characters: never guess that.
    if gb18030.bad_line is None and understood < 4 * replaced:
        return GB18030
    raise UnreadableFile(
        f"line {utf_8.bad_line} is not UTF-8",
        cause="a few bytes are damaged" if understood >= 4 * replaced else "the file is neither UTF-8 nor GB18030",
        cure=_SAY_SO,
    )


class _Scan:
    """Decodes to find the first line that is not of an encoding."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.bad_line: int | None = None
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._lines = 1

    def feed(self, chunk: bytes, final: bool = False) -> None:
        if self.bad_line is not None:
            return
        try:
            self._lines += self._decoder.decode(chunk, final).count("\n")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(self.encoding, "ignore")
            self.bad_line = self._lines + before.count("\n")
        except UnicodeError:
            # UTF-16 and UTF-32 whose first bytes do not say which end comes first.
            self.bad_line = self._lines
