# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Checks and encodes an event as the table of encoder.py says, derives its key, makes its id.

None wherever it is not sure. What is written stays within a buffer of fixed size: what does not fit goes the slow way.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Size
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy

from bianhe.schemas.identifiers import citizen_id, uscc

cdef extern from "Python.h":
    ctypedef struct PyObject
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void* PyUnicode_DATA(object text)
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 most)

cdef enum:
    ROOM = 65536
    NUMBER = 10  # bytes of a long at most
    ID = 36  # characters of an event's id
    NONE = 99
    RANDOM = 10  # bytes of chance in an id
    HASH = 32
    KEY = 43  # characters of a hash
    SEPARATOR = 0x1F  # as in keys.py

ctypedef bint (*Check)(const unsigned char*, Py_ssize_t) noexcept

cdef unsigned char VALUES[128]  # of the characters of a credit code
for code in range(128):
    VALUES[code] = uscc.ALPHABET.find(chr(code)) if chr(code) in uscc.ALPHABET else NONE
cdef const char* CHECKS = "10X98765432"
cdef const char* BODY_CHECKS = "0123456789X0"
cdef const char* HEX = "0123456789abcdef"
cdef const char* URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
cdef int[12] DAYS
DAYS[:] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
cdef int EARLIEST = citizen_id.EARLIEST_BIRTH.year


cdef class Field:
    cdef object name, kind, fault, written
    cdef bint nullable, is_text
    cdef Py_ssize_t most
    cdef Check check  # instead of `fault`, where it is one of these

    def __init__(self, name, nullable, kind, most, fault, written):
        self.name, self.nullable, self.kind, self.written = name, nullable, kind, written
        self.is_text, self.most = written is None, most
        self.fault, self.check = fault, NULL
        if fault is citizen_id.fault:
            self.fault, self.check = None, is_citizen_id
        elif fault is uscc.fault:
            self.fault, self.check = None, is_uscc


cdef class Encoder:
    """The fields of one contract, each a row of the table."""

    cdef tuple fields

    def __init__(self, table):
        self.fields = tuple([Field(*row) for row in table])

    def __call__(self, bytes head not None, event_id, bytes kind not None, millis, items):
        cdef unsigned char room[ROOM]
        cdef Py_ssize_t at = PyBytes_GET_SIZE(head), size, known = 0
        cdef int64_t made
        cdef const char* data
        cdef PyObject* found
        cdef Field field
        if type(items) is not dict or at + ID + PyBytes_GET_SIZE(kind) > ROOM - 2 * NUMBER:
            return None
        if type(event_id) is not str or not PyUnicode_IS_COMPACT_ASCII(event_id) or PyUnicode_GET_LENGTH(event_id) != ID:
            return None
        memcpy(room, PyBytes_AS_STRING(head), at)
        made = uuid7_millis(<const unsigned char*>PyUnicode_DATA(event_id))
        if made < 0:
            return None
        memcpy(room + at, PyUnicode_DATA(event_id), ID)
        at += ID
        memcpy(room + at, PyBytes_AS_STRING(kind), PyBytes_GET_SIZE(kind))
        at += PyBytes_GET_SIZE(kind)
        at += long(room + at, made if millis is None else <int64_t>millis)
        room[at] = 0  # no objection
        at += 1
        for field in self.fields:
            found = <PyObject*>PyDict_GetItemWithError(items, field.name)
            known += found != NULL
            if found == NULL or <object>found is None:
                if not field.nullable:
                    return None
                data, size = b"\0", 1
            else:
                value = <object>found
                if field.kind is not None and type(value) is not field.kind:
                    return None
                if field.is_text:
                    if PyUnicode_GET_LENGTH(value) > field.most:
                        return None
                    if field.fault is not None and field.fault(value) is not None:
                        return None
                    try:
                        data = PyUnicode_AsUTF8AndSize(value, &size)
                    except UnicodeEncodeError:  # half of a character
                        return None
                    if memchr(data, 0, size) != NULL or at + size > ROOM - 2 * NUMBER:
                        return None
                    if field.check != NULL and not field.check(<const unsigned char*>data, size):
                        return None
                    if field.nullable:
                        room[at] = 2
                        at += 1
                    at += long(room + at, size)
                else:
                    piece = field.written(value)
                    if piece is None:
                        return None
                    data, size = PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece)
            if at + size > ROOM - 2 * NUMBER:
                return None
            memcpy(room + at, data, size)
            at += size
        if known != PyDict_Size(items):  # an item that the contract does not have
            return None
        return PyBytes_FromStringAndSize(<char*>room, at)


cdef class Keys:
    """Derives keys from these items by the two hashes of an HMAC, each as far as the secret takes it."""

    cdef tuple names
    cdef object inner, outer

    def __init__(self, tuple names not None, inner, outer):
        self.names, self.inner, self.outer = names, inner, outer

    def __call__(self, items):
        cdef unsigned char room[ROOM]
        cdef const unsigned char* data
        cdef Py_ssize_t at = 0, size
        cdef PyObject* found
        if type(items) is not dict:
            return None
        for name in self.names:
            found = <PyObject*>PyDict_GetItemWithError(items, name)
            if found == NULL or type(<object>found) is not str or not PyUnicode_IS_COMPACT_ASCII(<object>found):
                return None
            data, size = <const unsigned char*>PyUnicode_DATA(<object>found), PyUnicode_GET_LENGTH(<object>found)
            while size and data[0] == c" ":
                data, size = data + 1, size - 1
            while size and data[size - 1] == c" ":
                size -= 1
            if not size or size > ROOM - at - 1:
                return None
            if at:
                room[at] = SEPARATOR
                at += 1
            while size:
                if not 32 <= data[0] < 127:
                    return None
                room[at] = data[0] - 32 if c"a" <= data[0] <= c"z" else data[0]
                at += 1
                data, size = data + 1, size - 1
        within, around = self.inner.copy(), self.outer.copy()
        within.update(PyBytes_FromStringAndSize(<char*>room, at))
        around.update(within.digest())
        return in_base64url(around.digest())


cdef object in_base64url(bytes hashed):
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(hashed)
    cdef object text = PyUnicode_New(KEY, 127)
    cdef char* room = <char*>PyUnicode_DATA(text)
    cdef Py_ssize_t place, bit
    cdef unsigned int pair
    for place in range(KEY):
        bit = 6 * place
        pair = data[bit >> 3] << 8 | (data[(bit >> 3) + 1] if bit >> 3 < HASH - 1 else 0)
        room[place] = URL[pair >> (10 - (bit & 7)) & 63]
    return text


def event_id(int64_t millis, bytes randomness not None, Py_ssize_t at):
    """A UUIDv7 from milliseconds since 1970 and the ten bytes of chance that stand there."""
    cdef object text = PyUnicode_New(ID, 127)
    cdef char* room = <char*>PyUnicode_DATA(text)
    cdef const unsigned char* data
    cdef int place = 0, digit
    if not 0 <= at <= PyBytes_GET_SIZE(randomness) - RANDOM:
        raise IndexError
    data = <const unsigned char*>PyBytes_AS_STRING(randomness) + at
    for digit in range(12):
        if digit == 8:
            room[place] = c"-"
            place += 1
        room[place] = HEX[millis >> (44 - 4 * digit) & 15]
        place += 1
    room[13], room[14], place = c"-", c"7", 15
    for digit in range(1, 2 * RANDOM):
        if digit == 4 or digit == 8:
            room[place] = c"-"
            place += 1
        room[place] = HEX[data[digit >> 1] >> (0 if digit & 1 else 4) & 15]
        if digit == 4:
            room[place] = HEX[8 | data[2] >> 4 & 3]
        place += 1
    return text


cdef inline Py_ssize_t long(unsigned char* at, int64_t number) noexcept:
    """Write a number as Avro does; returns how many bytes."""
    cdef uint64_t rest = (<uint64_t>number << 1) ^ <uint64_t>(number >> 63)
    cdef Py_ssize_t size = 0
    while rest > 127:
        at[size] = rest & 127 | 128
        rest >>= 7
        size += 1
    at[size] = rest
    return size + 1


cdef int64_t uuid7_millis(const unsigned char* text) noexcept:
    """The time in 36 characters; -1 where they are no UUID of version 7 in small letters."""
    cdef int place, digit
    cdef int64_t millis = 0
    for place in range(ID):
        if place == 8 or place == 13 or place == 18 or place == 23:
            if text[place] != c"-":
                return -1
            continue
        if c"0" <= text[place] <= c"9":
            digit = text[place] - c"0"
        elif c"a" <= text[place] <= c"f":
            digit = text[place] - c"a" + 10
        else:
            return -1
        if place < 13:
            millis = millis << 4 | digit
    return millis if text[14] == c"7" and (c"8" <= text[19] <= c"9" or c"a" <= text[19] <= c"b") else -1


cdef bint is_citizen_id(const unsigned char* text, Py_ssize_t size) noexcept:
    """Whether `citizen_id.fault` finds none."""
    cdef int place, weighed = 0, year, month, day
    if size != 18:
        return False
    for place in range(17):
        if not c"0" <= text[place] <= c"9":
            return False
        weighed = weighed * 2 + text[place] - c"0"
    year, month, day = digits(text + 6, 4), digits(text + 10, 2), digits(text + 12, 2)
    if year < EARLIEST or not 1 <= month <= 12 or not 1 <= day <= DAYS[month - 1]:
        return False
    if month == 2 and day == 29 and (year % 4 or (year % 100 == 0 and year % 400)):
        return False
    return text[17] == CHECKS[weighed * 2 % 11]


cdef inline int digits(const unsigned char* text, int size) noexcept:
    cdef int place, number = 0
    for place in range(size):
        number = number * 10 + text[place] - c"0"
    return number


cdef bint is_uscc(const unsigned char* text, Py_ssize_t size) noexcept:
    """Whether `uscc.fault` finds none."""
    cdef int place, weighed = 0, organisation = 0
    if size != 18:
        return False
    for place in range(17, -1, -1):
        if text[place] > 127 or VALUES[text[place]] == NONE or (2 <= place < 8 and text[place] > c"9"):
            return False
        if place < 17:
            weighed = (weighed * 3 + VALUES[text[place]]) % 31
    for place in range(8, 16):
        organisation = organisation * 2 + text[place] - (c"0" if text[place] <= c"9" else c"7")
    return text[16] == BODY_CHECKS[11 - organisation * 2 % 11] and VALUES[text[17]] == (31 - weighed) % 31
