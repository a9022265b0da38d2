/* Reader of plain lines; ftkit/dataset/plain.py describes its result.

   A plain line is an object with the key "messages" alone, whose messages have a role, a text and,
   if they are the assistant's, perhaps a weight. The reader refuses every other line by returning
   None, and the general decoder reads that line. So a check may be too strict, but never too lax:
   an accepted line is valid JSON and UTF-8, and has no repeated key. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char Byte;

typedef struct {
    const Byte *at, *end; /* the rest of the line */
    Byte *out;            /* the end of what was written; it never has more bytes than were read */
} Reader;

/* Their initials must differ, since they stand for the roles in the result. */
static const char *const ROLES[] = {"system", "developer", "user", "assistant"};
enum { ROLE_COUNT = sizeof ROLES / sizeof *ROLES, ASSISTANT = ROLE_COUNT - 1 };

enum { SEPARATOR = 0xFF }; /* a byte that UTF-8 does not have */

/* Return true for ASCII that stands for itself in a string. */
static int is_ordinary(Byte byte) {
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* FTKIT_BYTEWISE selects the code for other compilers and machines, to test it. */
#if !defined FTKIT_BYTEWISE && defined __GNUC__ && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define HAS_ZERO(word) (((word) - EACH(1)) & ~(word))

/* Return the number of ordinary bytes at the beginning of eight. The lowest high bit set in
   `others` marks the first byte that is not ordinary; higher ones may be false. See
   https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord */
static int count_ordinary(const Byte *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    uint64_t others = (word | (word - EACH(0x20)) | HAS_ZERO(word ^ EACH('"')) |
                       HAS_ZERO(word ^ EACH('\\'))) & EACH(0x80);
    return others ? __builtin_ctzll(others) / 8 : 8;
}

#else

static int count_ordinary(const Byte *bytes) {
    int count = 0;
    while (count < 8 && is_ordinary(bytes[count]))
        count++;
    return count;
}

#endif

static void skip_space(Reader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\r' || *reader->at == '\n'))
        reader->at++;
}

/* Read a character of the syntax and the white space around it. */
static int read_mark(Reader *reader, char mark) {
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != (Byte)mark)
        return 0;
    reader->at++;
    skip_space(reader);
    return 1;
}

/* Read a string that is spelled exactly like this. */
static int read_exactly(Reader *reader, const char *text) {
    size_t length = strlen(text);
    if ((size_t)(reader->end - reader->at) < length + 2 || reader->at[0] != '"' ||
        memcmp(reader->at + 1, text, length) || reader->at[length + 1] != '"')
        return 0;
    reader->at += length + 2;
    return 1;
}

/* Read and write a character beyond ASCII. Refuse a control, and what is not UTF-8. */
static int read_utf8(Reader *reader) {
    const Byte *at = reader->at;
    int size = at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    if (at[0] < 0xC2 || at[0] > 0xF4 || reader->end - at < size)
        return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xF0 && at[1] < 0x90) || /* shorter exist */
        (at[0] == 0xED && at[1] > 0x9F) || (at[0] == 0xF4 && at[1] > 0x8F)) /* not in Unicode */
        return 0;
    *reader->out++ = at[0];
    for (int index = 1; index < size; index++) {
        if ((at[index] & 0xC0) != 0x80)
            return 0;
        *reader->out++ = at[index];
    }
    reader->at += size;
    return 1;
}

/* Read the four digits of \u00e9. Return the code unit, or -1. */
static long read_code_unit(Reader *reader) {
    long unit = 0;
    if (reader->end - reader->at < 4)
        return -1;
    for (int index = 0; index < 4; index++) {
        Byte digit = *reader->at++;
        Byte letter = digit | 0x20;
        if (digit >= '0' && digit <= '9')
            unit = 16 * unit + digit - '0';
        else if (letter >= 'a' && letter <= 'f')
            unit = 16 * unit + letter - 'a' + 10;
        else
            return -1;
    }
    return unit;
}

/* Read what follows \u and write the character, which takes at most half as many bytes. */
static int read_code_point(Reader *reader) {
    long code = read_code_unit(reader);
    if (code < 0x20) /* no digits, or a control character */
        return 0;
    if (code >= 0xD800 && code < 0xE000) {
        if (code >= 0xDC00 || reader->end - reader->at < 2 || reader->at[0] != '\\' ||
            reader->at[1] != 'u')
            return 0;
        reader->at += 2;
        long low = read_code_unit(reader);
        if (low < 0xDC00 || low >= 0xE000)
            return 0;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
        *reader->out++ = (Byte)code;
    } else if (code < 0x800) {
        *reader->out++ = (Byte)(0xC0 | code >> 6);
        *reader->out++ = (Byte)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *reader->out++ = (Byte)(0xE0 | code >> 12);
        *reader->out++ = (Byte)(0x80 | (code >> 6 & 0x3F));
        *reader->out++ = (Byte)(0x80 | (code & 0x3F));
    } else {
        *reader->out++ = (Byte)(0xF0 | code >> 18);
        *reader->out++ = (Byte)(0x80 | (code >> 12 & 0x3F));
        *reader->out++ = (Byte)(0x80 | (code >> 6 & 0x3F));
        *reader->out++ = (Byte)(0x80 | (code & 0x3F));
    }
    return 1;
}

/* Read a backslash and what it escapes. */
static int read_escape(Reader *reader) {
    static const Byte VALUES[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                     ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    reader->at++; /* the backslash */
    if (reader->at == reader->end)
        return 0;
    Byte letter = *reader->at++;
    if (letter == 'u')
        return read_code_point(reader);
    *reader->out++ = VALUES[letter];
    return VALUES[letter] != 0;
}

/* Return true if a text has a character that is certainly not white space: in ASCII, or where no
   white space of Unicode begins. */
static int has_visible(const Byte *text, const Byte *end) {
    for (; text < end; text++) {
        if (*text > ' ' && *text < 0x7F)
            return 1;
        if (*text > 0xC2 && *text != 0xE1 && *text != 0xE2 && (*text != 0xE3 || text[1] != 0x80))
            return 1;
    }
    return 0;
}

/* Read a string and write its text. Refuse a blank one, and controls that are not escaped. */
static int read_text(Reader *original) {
    Reader reader = *original; /* no written byte can change the copy: it stays in registers */
    const Byte *text = reader.out;
    if (reader.at == reader.end || *reader.at++ != '"')
        return 0;
    for (;;) {
        for (int count = 8; count == 8 && reader.end - reader.at >= 8;) {
            count = count_ordinary(reader.at);
            /* There is room, since no more was written than read. The rest is written over. */
            memcpy(reader.out, reader.at, 8);
            reader.at += count;
            reader.out += count;
        }
        while (reader.at < reader.end && is_ordinary(*reader.at))
            *reader.out++ = *reader.at++;
        if (reader.at == reader.end)
            return 0;
        if (*reader.at == '"')
            break;
        if (*reader.at == '\\') {
            if (!read_escape(&reader))
                return 0;
        } else {
            do {
                if (!read_utf8(&reader))
                    return 0;
            } while (reader.at < reader.end && *reader.at >= 0x80);
        }
    }
    reader.at++;
    *original = reader;
    return has_visible(text, reader.out);
}

/* Read a role. Return its index, or -1. */
static int read_role(Reader *reader) {
    for (int role = 0; role < ROLE_COUNT; role++)
        if (read_exactly(reader, ROLES[role]))
            return role;
    return -1;
}

/* Read a weight. Return its digit, or 0. A longer number is refused by what must follow. */
static char read_weight(Reader *reader) {
    if (reader->at == reader->end || (*reader->at != '0' && *reader->at != '1'))
        return 0;
    return (char)*reader->at++;
}

/* Read a message, and write its text, role and weight. Return the initial of its role, or its
   weight if it has one, or 0. */
static char read_message(Reader *reader) {
    int role = -1, has_text = 0;
    char weight = 0;
    if (!read_mark(reader, '{'))
        return 0;
    do {
        if (role < 0 && read_exactly(reader, "role")) {
            if (!read_mark(reader, ':') || (role = read_role(reader)) < 0)
                return 0;
        } else if (!has_text && read_exactly(reader, "content")) {
            if (!read_mark(reader, ':') || !read_text(reader))
                return 0;
            has_text = 1;
        } else if (!weight && read_exactly(reader, "weight")) {
            if (!read_mark(reader, ':') || !(weight = read_weight(reader)))
                return 0;
        } else {
            return 0;
        }
    } while (read_mark(reader, ','));
    if (role < 0 || !has_text || (weight && role != ASSISTANT) || !read_mark(reader, '}'))
        return 0;
    size_t length = strlen(ROLES[role]);
    *reader->out++ = SEPARATOR;
    memcpy(reader->out, ROLES[role], length);
    reader->out += length;
    if (weight)
        *reader->out++ = (Byte)weight;
    *reader->out++ = SEPARATOR;
    return weight ? weight : ROLES[role][0];
}

/* Read a line. Return the last message that was written, or NULL. Each role takes a byte. */
static Byte *read_line(Reader *reader, Byte **roles) {
    Byte *last;
    if (reader->at == reader->end || *reader->at != '{' || !read_mark(reader, '{') ||
        !read_exactly(reader, "messages") || !read_mark(reader, ':') || !read_mark(reader, '['))
        return NULL;
    do {
        last = reader->out;
        char role = read_message(reader);
        if (!role)
            return NULL;
        *(*roles)++ = (Byte)role;
    } while (read_mark(reader, ','));
    if (!read_mark(reader, ']') || reader->at == reader->end || *reader->at++ != '}')
        return NULL;
    if (reader->at < reader->end && *reader->at == '\r')
        reader->at++;
    return reader->at == reader->end ? last : NULL;
}

static PyObject *bytes_between(const Byte *start, const Byte *end) {
    return PyBytes_FromStringAndSize((const char *)start, end - start);
}

static PyObject *read_plain(PyObject *module, PyObject *line) {
    char *data;
    Py_ssize_t size;
    (void)module;
    if (PyBytes_AsStringAndSize(line, &data, &size) < 0)
        return NULL;
    /* Half for the messages, half for their roles: {"role":"user","content":""} is longer than
       what is written of it. */
    Byte *texts = PyMem_Malloc(2 * (size_t)size + 1);
    if (!texts)
        return PyErr_NoMemory();
    Byte *roles = texts + size, *roles_end = roles;
    Reader reader = {(const Byte *)data, (const Byte *)data + size, texts};
    Byte *last = read_line(&reader, &roles_end);
    PyObject *result = NULL;
    if (last) {
        PyObject *initials = bytes_between(roles, roles_end);
        PyObject *prompt = bytes_between(texts, last), *answer = bytes_between(last, reader.out);
        if (initials && prompt && answer)
            result = PyTuple_Pack(3, initials, prompt, answer);
        Py_XDECREF(initials);
        Py_XDECREF(prompt);
        Py_XDECREF(answer);
    }
    PyMem_Free(texts);
    if (!last)
        Py_RETURN_NONE;
    return result;
}

static PyMethodDef METHODS[] = {
    {"read_plain", read_plain, METH_O, "Return the roles, the prompt and the answer, or None."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* the module has no state */
#endif
    {0, NULL},
};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_plain",
    .m_methods = METHODS,
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__plain(void) { return PyModuleDef_Init(&MODULE); }
