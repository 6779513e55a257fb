# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Reads the canonical JSON of a model as the table of canonical.py says; None wherever it is not sure."""

import hashlib

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject, PyObject_GenericSetAttr
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp

cdef enum:
    DIGITS = 18  # of a number at most
    REMEMBERED = 1024  # texts of one field at most

cdef object _sha256 = hashlib.sha256


cdef class Field:
    cdef object name, read, default, others
    cdef bytes key
    cdef bint optional, is_text, is_number
    cdef Reader model
    cdef dict remembered

    def __init__(self, name, optional, default, kind, model, read):
        self.name, self.key, self.optional, self.default = name, b'"%s":' % name.encode(), optional, default
        self.is_text, self.is_number = kind is str, kind is int
        self.model, self.read, self.remembered = model, read, {}

    cdef object value(self, const char* text, Py_ssize_t size):
        """What a whole value reads as, the same text once; raises ValueError."""
        part = PyBytes_FromStringAndSize(text, size)
        found = PyDict_GetItemWithError(self.remembered, part)
        if found != NULL:
            return <object>found
        value = self.read(part)
        if self.model is None:
            if len(self.remembered) >= REMEMBERED:
                self.remembered.clear()
            self.remembered[part] = value
        return value


cdef class Reader:
    """The fields of one model, each a row of the table, and what it calls the hash of its own text."""

    cdef object model, hashed, given
    cdef tuple fields

    def __init__(self, model, hashed, table):
        cdef Field field
        self.model, self.hashed = model, hashed
        self.fields = tuple([Field(*row) for row in table])
        self.given = {row[0] for row in table}
        for field in self.fields:
            field.others = self.given - {field.name}

    def __call__(self, bytes text not None):
        cdef const char* begin = PyBytes_AS_STRING(text)
        cdef const char* at = begin
        try:
            made = self.take(&at, begin + PyBytes_GET_SIZE(text))
        except ValueError:
            return None
        return made if at == begin + PyBytes_GET_SIZE(text) else None

    cdef object take(self, const char** place, const char* end):
        """The model at a place, which then is behind it; None where it is not sure."""
        cdef const char* begin = place[0]
        cdef const char* at = begin
        cdef const char* value
        cdef Py_ssize_t size
        cdef bint first = True
        cdef Field field
        cdef dict values = {}
        cdef object given = self.given
        for field in self.fields:
            size = PyBytes_GET_SIZE(field.key)
            if end - at < 1 + size:
                return None
            if at[0] != (c"{" if first else c",") or memcmp(at + 1, PyBytes_AS_STRING(field.key), size):
                if not field.optional:
                    return None
                values[field.name] = field.default
                given = field.others if given is self.given else given - {field.name}
                continue
            first = False
            value = at = at + 1 + size
            if field.model is not None:
                read = field.model.take(&at, end)
                if read is not None:
                    values[field.name] = read
                    continue
                at = value
            if field.is_text and (at := behind_plain(value, end)) != NULL:
                values[field.name] = PyUnicode_DecodeUTF8(value + 1, at - value - 2, NULL)
                continue
            at = behind(value, end)
            if at == NULL:
                return None
            if not field.is_number:
                values[field.name] = field.value(value, at - value)
            elif is_integer(value, at):
                values[field.name] = integer(value, at)
            else:
                return None
        if first or at == end or at[0] != c"}":
            return None
        at += 1
        if self.hashed:
            values[self.hashed] = _sha256(PyBytes_FromStringAndSize(begin, at - begin)).hexdigest()
        made = self.model.__new__(self.model)
        PyObject_GenericSetAttr(made, "__dict__", values)
        PyObject_GenericSetAttr(made, "__pydantic_fields_set__", given)
        PyObject_GenericSetAttr(made, "__pydantic_extra__", None)
        PyObject_GenericSetAttr(made, "__pydantic_private__", None)
        place[0] = at
        return made


cdef const char* behind_plain(const char* at, const char* end) noexcept:
    """Where a text without escapes and control characters ends, NULL if it is none."""
    if at == end or at[0] != c'"':
        return NULL
    at += 1
    while at < end and at[0] != c'"' and at[0] != c"\\" and <unsigned char>at[0] >= 32:
        at += 1
    return at + 1 if at < end and at[0] == c'"' else NULL


cdef const char* behind(const char* at, const char* end) noexcept:
    """Where whatever stands here would end as a value, NULL if nowhere."""
    cdef Py_ssize_t depth = 0
    cdef bint within = False
    while at < end:
        if within:
            if at[0] == c"\\":
                at += 1
            elif at[0] == c'"':
                within = False
        elif at[0] == c'"':
            within = True
        elif at[0] == c"{" or at[0] == c"[":
            depth += 1
        elif depth == 0 and (at[0] == c"," or at[0] == c"}" or at[0] == c"]"):
            return at
        elif at[0] == c"}" or at[0] == c"]":
            depth -= 1
        at += 1
    return NULL


cdef bint is_integer(const char* at, const char* end) noexcept:
    """Whether it is an integer as JSON writes it, and a short one."""
    if at < end and at[0] == c"-":
        at += 1
        if at < end and at[0] == c"0":
            return False
    if not 0 < end - at <= DIGITS or (at[0] == c"0" and end - at > 1):
        return False
    while at < end:
        if not c"0" <= at[0] <= c"9":
            return False
        at += 1
    return True


cdef long long integer(const char* at, const char* end) noexcept:
    cdef bint negative = at[0] == c"-"
    cdef long long number = 0
    at += negative
    while at < end:
        number = number * 10 + at[0] - c"0"
        at += 1
    return -number if negative else number
