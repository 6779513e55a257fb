# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records of a worker into the queue of librdkafka, past the Python of its client: see outlet.py.

The queue copies what it takes, so nothing here outlives a call but the topics' handles, which end with their outlet.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int32_t, int64_t, uintptr_t

from bianhe.schemas.wire import HEAD_BYTES, Malformed

cdef enum:
    COPY = 2  # RD_KAFKA_MSG_F_COPY
    HEAD = 5
    KEY_MAX = 64
    IDENTITY_NUMBER = 18

assert HEAD_BYTES == HEAD

ctypedef int (*Produce)(void*, int32_t, int, void*, size_t, const void*, size_t, void*) noexcept
ctypedef void* (*NewTopic)(void*, const char*, void*) noexcept
ctypedef void (*DestroyTopic)(void*) noexcept
ctypedef int (*LastError)() noexcept


@cython.no_gc
cdef class Outlet:
    """The queue of one producer, by the addresses of its handle and of the functions of its library."""

    cdef object producer  # lives as long as the handles do
    cdef void* client
    cdef Produce produce
    cdef NewTopic new_topic
    cdef DestroyTopic destroy_topic
    cdef LastError last_error

    def __cinit__(self, producer, uintptr_t client, uintptr_t produce, uintptr_t new_topic, uintptr_t destroy_topic,
                  uintptr_t last_error):
        self.producer, self.client = producer, <void*>client
        self.produce, self.new_topic = <Produce>produce, <NewTopic>new_topic
        self.destroy_topic, self.last_error = <DestroyTopic>destroy_topic, <LastError>last_error

    def topics(self, tuple names not None):
        return Topics(self, names)

    def refusal(self, str topic):
        """The error that one record outside of a transaction meets; 0 if it is taken."""
        cdef Topics asked = Topics(self, (topic,))
        if self.produce(asked.handles[0], 0, COPY, <void*>b"", 0, NULL, 0, NULL) == 0:
            return 0
        return self.last_error()


@cython.no_gc
cdef class Topics:
    """The delivery topics of a partition's lanes, looked up once: by name, each record would search all of them."""

    cdef Outlet outlet
    cdef readonly tuple names
    cdef void** handles
    cdef Py_ssize_t count

    def __cinit__(self, Outlet outlet not None, tuple names):
        self.outlet, self.names = outlet, names
        self.handles = <void**>PyMem_Calloc(len(names) + 1, sizeof(void*))
        if self.handles == NULL:
            raise MemoryError
        for name in names:
            self.handles[self.count] = outlet.new_topic(outlet.client, PyBytes_AS_STRING(name.encode()), NULL)
            if self.handles[self.count] == NULL:
                raise RuntimeError(f"the client has no handle for {name}")
            self.count += 1

    def __dealloc__(self):
        cdef Py_ssize_t lane
        for lane in range(self.count):
            self.outlet.destroy_topic(self.handles[lane])
        PyMem_Free(self.handles)

    cpdef Py_ssize_t write(self, int32_t partition, bytes key, list values, produce) except -1:
        """Queue the values of one record; `produce` takes what the queue does not. Returns their bytes."""
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t lane
        cdef bytes value
        if len(values) != self.count:
            raise ValueError("other lanes than topics")
        for lane in range(self.count):
            value = values[lane]
            if value is None:
                continue
            size += PyBytes_GET_SIZE(value)
            if self.outlet.produce(self.handles[lane], partition, COPY, PyBytes_AS_STRING(value),
                                   PyBytes_GET_SIZE(value), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), NULL):
                produce(self.names[lane], partition, key, value)
        return size

    def run(self, list messages not None, Py_ssize_t at, str source not None, int32_t partition, int64_t position,
            dict delivering not None, int64_t policy_version, Py_ssize_t events_max, Py_ssize_t bytes_max,
            Py_ssize_t value_max, produce, after):
        """Deliver messages from `at` on, as long as they are plain ones of this partition, in order.

        Returns how many were taken, the position then and their bytes: of each what it came as or what was delivered,
        whichever is more. The first that is not taken is for the caller: another partition's, a removal, an unknown
        schema, a key or a value to look at twice, or one too many.
        `after` is told key, offset and values of each, where it is not None.
        """
        cdef Py_ssize_t taken = 0
        cdef Py_ssize_t size = 0
        cdef int64_t offset
        while at < len(messages) and taken < events_max and size < bytes_max:
            message = messages[at]
            value, key = message.value(), message.key()
            if type(value) is not bytes or type(key) is not bytes or not HEAD <= len(<bytes>value) <= value_max:
                break
            offset = message.offset()
            if offset < position or message.partition() != partition or message.topic() != source:
                break
            deliver = delivering.get((<bytes>value)[:HEAD])
            if deliver is None or not is_plain(<bytes>key):
                break
            try:
                values = deliver(value, offset, policy_version, message.timestamp()[1])
            except Malformed:
                break
            size += max(PyBytes_GET_SIZE(<bytes>value), self.write(partition, key, values, produce))
            if after is not None:
                after(key, offset, values)
            position = offset + 1
            taken += 1
            at += 1
        return taken, position, size


cdef bint is_plain(bytes key) noexcept:
    """Whether a key is of the form [A-Za-z0-9_-]{1,64} and cannot be an identity number: 17 digits and one more."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(key)
    cdef Py_ssize_t digits = 0
    cdef Py_ssize_t i
    cdef unsigned char x
    if not 1 <= length <= KEY_MAX:
        return False
    for i in range(length):
        x = PyBytes_AS_STRING(key)[i]
        if 0x30 <= x <= 0x39:
            digits += 1
        elif not (0x41 <= x <= 0x5A or 0x61 <= x <= 0x7A or x == 0x2D or x == 0x5F):
            return False
    return length != IDENTITY_NUMBER or digits < IDENTITY_NUMBER - 1
