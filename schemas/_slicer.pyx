# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The kernel of the slicer: runs the tables of schemas/kernel.py over one body after another.

Every look at the body is checked against its end, every range before it is copied; positions may step past the end in
between, as in schemas/walk.py, whose refusals these are: same reason, same byte. Strings are checked for UTF-8 in the
same runs. Nothing outlives a call but the slices.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from bianhe.schemas.splice import PSEUDONYM_CHARACTERS, pseudonym
from bianhe.schemas.wire import HEAD_BYTES, Malformed, Reason

cdef enum:
    POSITIONS = 1032  # where 512 fields begin and their strings' contents, the end, and one for all others
    DEPTH = 64  # arrays and maps in one another; a contract has fewer
    PSEUDONYM_BYTES = 33
    HEAD = 5  # magic byte and schema id
    HEAD_MAX = 35  # the head, then three numbers of ten bytes at most

cdef enum Do:
    NULL_, BOOLEAN, SMALL, NUMBER, STRING, UUID, BYTES, FIXED, DECIMAL, FIXED_DECIMAL, ENUM, WIDE_ENUM, NULLABLE, ARRAY, MAP

cdef enum What:
    KEPT, LITERAL, FIRST, YEAR, PSEUDONYM, IS, AMONG, BEGINS

cdef enum Why:
    TRUNCATED, TRAILING, OVERLONG, RANGE, LENGTH, UNION, BAD_ENUM, BAD_BOOLEAN, TEXT, BAD_UUID, BLOCK, COUNT, KEY

cdef tuple _STEPS = ("null", "boolean", "small", "number", "string", "uuid", "bytes", "fixed", "decimal",
                     "fixed decimal", "enum", "wide enum", "nullable", "array", "map")
cdef tuple _PIECES = ("kept", "literal", "first", "year", "pseudonym", "is", "among", "begins")
cdef tuple _REASONS = (Reason.TRUNCATED, Reason.TRAILING, Reason.OVERLONG, Reason.RANGE, Reason.LENGTH, Reason.UNION,
                       Reason.ENUM, Reason.BOOLEAN, Reason.TEXT, Reason.UUID, Reason.BLOCK, Reason.COUNT, Reason.KEY)
assert PSEUDONYM_CHARACTERS + 1 == PSEUDONYM_BYTES and HEAD_BYTES == HEAD

ctypedef const unsigned char* Octets


cdef struct Step:
    int do
    int next
    int start
    int content
    int64_t size
    int64_t low
    int64_t high


cdef struct Piece:  # of a slice, or a test of its row rule
    int what
    int begin
    int end
    int content
    bint nullable
    Py_ssize_t characters
    Octets data
    Py_ssize_t length
    PyObject* object


cdef struct View:
    int tests
    int pieces
    int end


cdef struct Cursor:
    Octets b
    Py_ssize_t n
    Py_ssize_t p
    Py_ssize_t s  # where the unchecked run of text begins
    Py_ssize_t outer  # where the outermost array or map began that p is in, or -1
    Py_ssize_t at
    int why


cdef inline bint refuse(Cursor* c, int why, Py_ssize_t at) noexcept:
    c.why = why
    c.at = at
    return True


cdef inline bint truncated(Cursor* c) noexcept:
    return refuse(c, TRUNCATED, c.p if c.outer < 0 else c.outer)


cdef inline bint is_text(Octets b, Py_ssize_t i, Py_ssize_t end) noexcept:
    """Whether these bytes are UTF-8: shortest forms, no surrogates, at most U+10FFFF."""
    cdef uint64_t eight
    cdef unsigned char x
    while i < end:
        x = b[i]
        if x < 0x80:
            i += 1
            while end - i >= 8:
                memcpy(&eight, b + i, 8)
                if eight & <uint64_t>0x8080808080808080:
                    break
                i += 8
        elif 0xE1 <= x <= 0xEC or 0xEE <= x <= 0xEF:
            if end - i < 3 or b[i + 1] & 0xC0 != 0x80 or b[i + 2] & 0xC0 != 0x80:
                return False
            i += 3
        elif 0xC2 <= x <= 0xDF:
            if end - i < 2 or b[i + 1] & 0xC0 != 0x80:
                return False
            i += 2
        elif x == 0xE0 or x == 0xED:
            if end - i < 3 or b[i + 1] & 0xE0 != (0xA0 if x == 0xE0 else 0x80) or b[i + 2] & 0xC0 != 0x80:
                return False
            i += 3
        elif 0xF0 <= x <= 0xF4:
            if end - i < 4 or b[i + 1] & 0xC0 != 0x80 or b[i + 2] & 0xC0 != 0x80 or b[i + 3] & 0xC0 != 0x80:
                return False
            if (x == 0xF0 and b[i + 1] < 0x90) or (x == 0xF4 and b[i + 1] > 0x8F):
                return False
            i += 4
        else:
            return False
    return True


cdef inline bint bad_text(Cursor* c) noexcept:
    """Check the run of text up to p; refuse the record if it is none."""
    cdef Py_ssize_t end = c.p if c.p < c.n else c.n
    if c.s >= end or is_text(c.b, c.s, end):
        return False
    if c.outer >= 0:
        return refuse(c, TEXT, c.outer)
    return refuse(c, TEXT if c.p <= c.n else TRUNCATED, c.p)


cdef inline Py_ssize_t number(Cursor* c, int64_t* value, bint* wide) noexcept:
    """Read the number at p in its shortest form; return the byte after it, or -1 after a refusal.

    One of more than 64 bits is `wide` and stands as the largest, or smallest, of 64.
    """
    cdef Py_ssize_t i = c.p
    cdef uint64_t raw = 0
    cdef int shift = 0
    cdef unsigned char x
    while True:
        if i >= c.n:
            truncated(c)
            return -1
        x = c.b[i]
        i += 1
        if x < 0x80:
            break
        raw |= <uint64_t>(x & 0x7F) << shift
        shift += 7
        if shift > 63:
            refuse(c, OVERLONG, c.p)
            return -1
    if x == 0 and shift:
        refuse(c, OVERLONG, c.p)
        return -1
    raw |= <uint64_t>x << shift
    wide[0] = shift == 63 and x > 1
    if wide[0]:
        value[0] = INT64_MIN if raw & 1 else INT64_MAX
    else:
        value[0] = <int64_t>(raw >> 1) ^ -<int64_t>(raw & 1)
    return i


cdef inline Py_ssize_t content(Cursor* c, Py_ssize_t* end) noexcept:
    """Return where the content of the string or bytes at p begins, and set its end; -1 after a refusal."""
    cdef int64_t length
    cdef bint wide
    cdef Py_ssize_t start = number(c, &length, &wide)
    if start < 0:
        return -1
    if length < 0 or length > c.n:
        refuse(c, LENGTH, c.p)
        return -1
    end[0] = start + length
    return start


cdef inline Py_ssize_t string(Cursor* c) noexcept:
    """Step over a string; return where its content begins, or -1 after a refusal."""
    cdef Py_ssize_t start, end
    cdef unsigned char x
    if c.p >= c.n:
        truncated(c)
        return -1
    x = c.b[c.p]
    if x & 0x81:
        if bad_text(c):
            return -1
        start = content(c, &end)
        if start < 0:
            return -1
        c.s = start
        c.p = end
        return start
    start = c.p + 1
    c.p = start + (x >> 1)
    return start


cdef inline bint bad_number(Cursor* c, int64_t low, int64_t high) noexcept:
    cdef int64_t value
    cdef bint wide
    cdef Py_ssize_t end
    if bad_text(c):
        return True
    end = number(c, &value, &wide)
    if end < 0:
        return True
    if wide or value < low or value > high:
        return refuse(c, RANGE, c.p)
    c.p = c.s = end
    return False


cdef bint bad_uuid(Cursor* c) noexcept:
    cdef Py_ssize_t i
    cdef unsigned char x
    if c.p >= c.n:
        return truncated(c)
    if c.b[c.p] != 72:
        return refuse(c, BAD_UUID, c.p)
    if c.n - c.p < 37:
        return refuse(c, TRUNCATED, c.p)
    for i in range(36):
        x = c.b[c.p + 1 + i]
        if i == 8 or i == 13 or i == 18 or i == 23:
            if x != 0x2D:
                return refuse(c, BAD_UUID, c.p)
        elif not (0x30 <= x <= 0x39 or 0x41 <= x <= 0x46 or 0x61 <= x <= 0x66):
            return refuse(c, BAD_UUID, c.p)
    c.p += 37
    return False


cdef bint bad_decimal(Cursor* c, Py_ssize_t p, Py_ssize_t size, uint64_t low, uint64_t high) noexcept:
    """Step over a big-endian two's complement number of so many bytes at p, at most high:low from zero."""
    cdef uint64_t least = 0, most = 0
    cdef unsigned char sign = 0
    cdef Py_ssize_t i
    cdef Py_ssize_t end = p + size if p + size < c.n else c.n
    if p < end and c.b[p] & 0x80:
        sign = 0xFF
    for i in range(p, end):
        if end - i > 16:
            if c.b[i] != sign:
                return refuse(c, RANGE, p)
        else:
            most = most << 8 | least >> 56
            least = least << 8 | (c.b[i] ^ sign)
    # the complement of a negative number is one less than what it is from zero
    if most > high or (most == high and (least > low or (sign and least == low))):
        return refuse(c, RANGE, p)
    c.p = c.s = p + size
    return False


cdef class Program:
    """The tables of one contract and its views."""

    cdef Step* steps
    cdef Piece* pieces
    cdef View* views
    cdef int step_count
    cdef int view_count
    cdef int end
    cdef list kept

    def __cinit__(self, steps, views, int end):
        cdef int i = 0
        cdef int v
        pieces = sum(len(tests) + len(pieces) for tests, pieces in views)
        self.kept = []  # what the tables point into
        self.step_count, self.view_count, self.end = len(steps), len(views), end
        self.steps = <Step*>PyMem_Calloc(len(steps) + 1, sizeof(Step))
        self.pieces = <Piece*>PyMem_Calloc(pieces + 1, sizeof(Piece))
        self.views = <View*>PyMem_Calloc(len(views) + 1, sizeof(View))
        if self.steps == NULL or self.pieces == NULL or self.views == NULL:
            raise MemoryError
        for i, step in enumerate(steps):
            self._set_step(i, step)
        i = 0
        for v, (tests, parts) in enumerate(views):
            self.views[v].tests = i
            for what, begin, last, text, nullable, values in tests:
                self._set_piece(i, (what, begin, last, text, nullable, 0, next(iter(values), b"")))
                self.pieces[i].object = <PyObject*>values
                self.kept.append(values)
                i += 1
            self.views[v].pieces = i
            for part in parts:
                self._set_piece(i, part)
                i += 1
            self.views[v].end = i

    def __dealloc__(self):
        PyMem_Free(self.steps)
        PyMem_Free(self.pieces)
        PyMem_Free(self.views)

    cdef int _position(self, int position) except -1:
        if not 0 <= position < POSITIONS:
            raise ValueError(f"no position {position}")
        return position

    cdef int _set_step(self, int i, tuple step) except -1:
        operation, size, low, high, following, start, text = step
        if not i < following <= self.step_count:
            raise ValueError(f"step {i} leads to {following}")
        self.steps[i] = Step(
            do=_STEPS.index(operation), next=following, start=self._position(start), content=self._position(text),
            size=size, low=<int64_t><uint64_t>(low & 0xFFFFFFFFFFFFFFFF), high=high,
        )
        return 0

    cdef int _set_piece(self, int i, tuple piece) except -1:
        cdef bytes data
        what, begin, end, text, nullable, characters, data = piece
        self.pieces[i] = Piece(
            what=_PIECES.index(what), begin=self._position(begin), end=self._position(end),
            content=self._position(text), nullable=nullable, characters=characters,
            data=<Octets>PyBytes_AS_STRING(data), length=PyBytes_GET_SIZE(data), object=<PyObject*>data,
        )
        self.kept.append(data)
        return 0

    def slice(self, bytes body not None, /):
        cdef Py_ssize_t at[POSITIONS]
        cdef Octets b = <Octets>PyBytes_AS_STRING(body)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(body)
        cdef int i
        cdef object each
        self._note(b, n, at)
        cdef list slices = PyList_New(self.view_count)
        for i in range(self.view_count):
            each = self._slice(&self.views[i], b, n, at, NULL, 0) if self._holds(&self.views[i], b, n, at) else None
            Py_INCREF(each)
            PyList_SET_ITEM(slices, i, each)
        return slices

    def delivering(self, lanes):
        return Delivering(self, lanes).deliver

    cdef int _note(self, Octets b, Py_ssize_t n, Py_ssize_t* at) except -1:
        """Walk a whole body and note its positions; raises Malformed."""
        cdef Cursor c = Cursor(b=b, n=n, p=0, s=0, outer=-1, at=0, why=TRUNCATED)
        cdef bint bad = self._walk(&c, 0, self.step_count, at, 0)
        if not bad:
            at[self.end] = c.p
            if c.p > c.n:
                bad = refuse(&c, TRUNCATED, c.p)
            elif bad_text(&c):
                bad = True
            elif c.p < c.n:
                bad = refuse(&c, TRAILING, c.p)
        if bad:
            raise Malformed(_REASONS[c.why], c.at)
        return 0

    cdef bint _walk(self, Cursor* c, int i, int stop, Py_ssize_t* at, int depth) except? True:
        """Run steps i up to stop; True after a refusal."""
        cdef Step* step
        cdef Py_ssize_t start, end
        cdef int64_t value
        cdef bint wide
        cdef unsigned char x
        while i < stop:
            step = &self.steps[i]
            i += 1
            at[step.start] = c.p
            if step.do == STRING:
                start = string(c)
                if start < 0:
                    return True
                at[step.content] = start
            elif step.do == NULLABLE:
                if c.p >= c.n:
                    return truncated(c)
                x = c.b[c.p]
                if x == 0:
                    i = step.next
                elif x != 2:
                    return refuse(c, UNION, c.p)
                c.p += 1
            elif step.do == NUMBER:
                if bad_number(c, step.low, step.high):
                    return True
            elif step.do == SMALL:
                if c.p >= c.n:
                    return truncated(c)
                x = c.b[c.p]
                if x < 0x80 and not (x & 1 and step.low == 0):
                    c.p += 1
                elif bad_number(c, step.low, step.high):
                    return True
            elif step.do == ENUM:
                if c.p >= c.n:
                    return truncated(c)
                x = c.b[c.p]
                if x & 1 or x >= 2 * step.size:
                    return refuse(c, BAD_ENUM, c.p)
                c.p += 1
            elif step.do == WIDE_ENUM:
                if bad_text(c):
                    return True
                end = number(c, &value, &wide)
                if end < 0:
                    return True
                if value < 0 or value >= step.size:
                    return refuse(c, BAD_ENUM, c.p)
                c.p = c.s = end
            elif step.do == BOOLEAN:
                if c.p >= c.n:
                    return truncated(c)
                if c.b[c.p] > 1:
                    return refuse(c, BAD_BOOLEAN, c.p)
                c.p += 1
            elif step.do == UUID:
                if bad_uuid(c):
                    return True
            elif step.do == BYTES or step.do == DECIMAL:
                if bad_text(c):
                    return True
                if step.do == BYTES and c.p < c.n and not c.b[c.p] & 0x81:
                    c.p += 1 + (c.b[c.p] >> 1)
                    c.s = c.p
                    continue
                start = content(c, &end)
                if start < 0:
                    return True
                if step.do == BYTES:
                    c.p = c.s = end
                elif end - start < 1 or end - start > step.size:
                    return refuse(c, LENGTH, c.p)
                elif bad_decimal(c, start, end - start, <uint64_t>step.low, <uint64_t>step.high):
                    return True
            elif step.do == FIXED:
                if bad_text(c):
                    return True
                c.p += step.size
                c.s = c.p
            elif step.do == FIXED_DECIMAL:
                if bad_text(c) or bad_decimal(c, c.p, step.size, <uint64_t>step.low, <uint64_t>step.high):
                    return True
            elif step.do == ARRAY or step.do == MAP:
                if bad_text(c) or self._blocks(c, i, step, at, depth):
                    return True
                i = step.next
        return False

    cdef bint _blocks(self, Cursor* c, int first, Step* step, Py_ssize_t* at, int depth) except? True:
        """Step over an array or map written as one block; True after a refusal."""
        cdef Py_ssize_t outer = c.outer
        cdef Py_ssize_t start, end
        cdef int64_t count
        cdef bint wide
        cdef set keys = set() if step.do == MAP else None
        if depth >= DEPTH:
            raise RecursionError("arrays and maps in one another deeper than a contract may be")
        if outer < 0:
            c.outer = c.p
        start = number(c, &count, &wide)
        if start < 0:
            return True
        if count < 0:
            return refuse(c, BLOCK, c.p)
        if count > c.n - start:
            return refuse(c, COUNT, c.p)
        c.p = start
        if count:
            while count:
                if c.p >= c.n:  # every item takes a byte at least
                    return truncated(c)
                count -= 1
                c.s = c.p
                if keys is not None:
                    start = string(c)
                    if start < 0:
                        return True
                    end = c.p if c.p < c.n else c.n
                    key = PyBytes_FromStringAndSize(<const char*>c.b + start, end - start)
                    if key in keys:
                        return refuse(c, KEY, c.p)
                    keys.add(key)
                if self._walk(c, first, step.next, at, depth + 1) or bad_text(c):
                    return True
            if c.p >= c.n:
                return truncated(c)
            if c.b[c.p]:
                return refuse(c, BLOCK, c.p)
            c.p += 1
        c.s = c.p
        c.outer = outer
        return False

    cdef bint _holds(self, View* view, Octets b, Py_ssize_t n, Py_ssize_t* at) except? True:
        """Whether all tests of a view hold."""
        cdef Piece* test
        cdef Py_ssize_t begin, end
        cdef int i
        for i in range(view.tests, view.pieces):
            test = &self.pieces[i]
            begin, end = at[test.begin], at[test.end]
            if test.what == BEGINS:
                if test.nullable and b[begin] == 0:
                    return False
                begin = at[test.content]
            within(begin, end, n)
            if test.what == IS:
                if end - begin != test.length or memcmp(b + begin, test.data, test.length):
                    return False
            elif test.what == BEGINS:
                if end - begin < test.length or memcmp(b + begin, test.data, test.length):
                    return False
            elif PyBytes_FromStringAndSize(<const char*>b + begin, end - begin) not in <object>test.object:
                return False
        return True

    cdef bytes _slice(self, View* view, Octets b, Py_ssize_t n, Py_ssize_t* at, Octets head, Py_ssize_t head_length):
        """One slice behind a head: measured, then filled."""
        cdef Py_ssize_t size = head_length
        cdef Py_ssize_t length
        cdef int i
        cdef Piece* piece
        for i in range(view.pieces, view.end):
            piece = &self.pieces[i]
            within(at[piece.begin], at[piece.end], n) if piece.what != LITERAL else 0
            if piece.what == KEPT:
                size += at[piece.end] - at[piece.begin]
            else:
                size += put(piece, b, n, at, NULL)
        cdef bytes slice = PyBytes_FromStringAndSize(NULL, size)
        cdef unsigned char* out = <unsigned char*>PyBytes_AS_STRING(slice)
        if head_length:
            memcpy(out, head, head_length)
            out += head_length
        for i in range(view.pieces, view.end):
            piece = &self.pieces[i]
            if piece.what == KEPT:
                length = at[piece.end] - at[piece.begin]
                memcpy(out, b + at[piece.begin], length)
                out += length
            else:
                out += put(piece, b, n, at, out)
        return slice


cdef class Delivering:
    """One program over the lanes of one source partition (schemas/lanes.py), whose columns it counts in."""

    cdef Program program
    cdef object lanes
    cdef Py_ssize_t count
    cdef const int64_t[::1] slots
    cdef const unsigned char[::1] frames
    cdef const int64_t[::1] until
    cdef int64_t[::1] seq
    cdef int64_t[::1] kept_back
    cdef unsigned char[::1] cut

    def __cinit__(self, Program program not None, lanes):
        self.program, self.lanes, self.count = program, lanes, len(lanes.slots)
        if self.count == 0:
            return
        self.slots, self.frames, self.until = lanes.slots, lanes.frames, lanes.until
        self.seq, self.kept_back, self.cut = lanes.seq, lanes.kept_back, lanes.cut
        columns = {len(lanes.until), len(lanes.seq), len(lanes.kept_back), len(lanes.cut), len(lanes.frames) // HEAD}
        if columns != {self.count} or not all(0 <= slot < program.view_count for slot in lanes.slots):
            raise ValueError("lanes of unequal length, or of another program")

    def deliver(self, bytes value not None, int64_t offset, int64_t policy_version, int64_t append_millis, /):
        cdef Py_ssize_t at[POSITIONS]
        cdef unsigned char head[HEAD_MAX]
        cdef Py_ssize_t position = 0
        cdef Py_ssize_t length
        cdef Octets b = <Octets>PyBytes_AS_STRING(value) + HEAD
        cdef Py_ssize_t n = PyBytes_GET_SIZE(value) - HEAD
        cdef Py_ssize_t lane
        cdef View* view
        cdef object each
        if n < 0 or offset < 0 or policy_version < 0:
            raise ValueError("no framed record, or a negative number")
        self.program._note(b, n, at)
        position = put_long(offset, &head[HEAD])
        cdef list delivered = PyList_New(self.count)
        for lane in range(self.count):
            view = &self.program.views[self.slots[lane]]
            if append_millis >= self.until[lane]:
                self.cut[lane] = 1
            if self.cut[lane] or not self.program._holds(view, b, n, at):
                self.kept_back[lane] += 1
                each = None
            else:
                memcpy(head, &self.frames[HEAD * lane], HEAD)
                length = HEAD + position
                length += put_long(self.seq[lane] + 1, &head[length])
                length += put_long(policy_version, &head[length])
                each = self.program._slice(view, b, n, at, head, length)
                self.seq[lane] += 1
            Py_INCREF(each)
            PyList_SET_ITEM(delivered, lane, each)
        return delivered


cdef inline int within(Py_ssize_t begin, Py_ssize_t end, Py_ssize_t n) except -1:
    if not 0 <= begin <= end <= n:
        raise SystemError("the kernel noted a position outside the record")
    return 0


cdef Py_ssize_t put(Piece* piece, Octets b, Py_ssize_t n, Py_ssize_t* at, unsigned char* out) except -1:
    """Write what stands in the place of a field, or only measure it where `out` is NULL; return its bytes."""
    cdef Py_ssize_t begin, end, size = 0
    cdef bytes digest
    if piece.what == LITERAL:
        if out != NULL:
            memcpy(out, piece.data, piece.length)
        return piece.length
    begin, end = at[piece.begin], at[piece.end]
    if piece.nullable:
        size = 1
        if out != NULL:
            out[0] = b[begin]
            out += 1
        if b[begin] == 0:
            return 1
        begin += 1
    if piece.what == YEAR:
        return size + put_long(year(b, begin, end), out)
    begin = at[piece.content]
    within(begin, end, n)
    if piece.what == PSEUDONYM:
        if out != NULL:
            digest = pseudonym(<object>piece.object, PyBytes_FromStringAndSize(<const char*>b + begin, end - begin))
            if PyBytes_GET_SIZE(digest) != PSEUDONYM_BYTES:
                raise SystemError("a pseudonym of another length")
            memcpy(out, PyBytes_AS_STRING(digest), PSEUDONYM_BYTES)
        return size + PSEUDONYM_BYTES
    end = begin + first(b + begin, end - begin, piece.characters)
    size += put_long(end - begin, out)
    if out != NULL:
        memcpy(out + size - piece.nullable, b + begin, end - begin)
    return size + end - begin


cdef inline Py_ssize_t put_long(int64_t value, unsigned char* out) noexcept:
    """Write a number that is not negative as Avro does, or only measure it; return its bytes."""
    cdef uint64_t rest = <uint64_t>value << 1
    cdef Py_ssize_t size = 1
    while rest > 0x7F:
        if out != NULL:
            out[size - 1] = rest & 0x7F | 0x80
        rest >>= 7
        size += 1
    if out != NULL:
        out[size - 1] = <unsigned char>rest
    return size


cdef Py_ssize_t first(Octets text, Py_ssize_t length, Py_ssize_t characters) noexcept:
    """How many bytes the first characters of a text take."""
    cdef Py_ssize_t i
    for i in range(length):
        if text[i] & 0xC0 != 0x80:
            if characters == 0:
                return i
            characters -= 1
    return length


cdef int64_t year(Octets b, Py_ssize_t i, Py_ssize_t end) noexcept:
    """The year of the date at i, a number already checked to be within the years 1 to 9999."""
    cdef uint64_t raw = 0
    cdef int shift = 0
    cdef int64_t days, era, day
    while i < end and shift < 63:
        raw |= <uint64_t>(b[i] & 0x7F) << shift
        shift += 7
        i += 1
    # days since 1 March of year 0, in eras of 400 years, all positive here
    days = (<int64_t>(raw >> 1) ^ -<int64_t>(raw & 1)) + 719468
    era = days // 146097
    day = days - era * 146097
    cdef int64_t of_era = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * of_era + of_era // 4 - of_era // 100
    return of_era + era * 400 + (1 if day >= 306 else 0)
