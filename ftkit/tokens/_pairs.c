/* Byte-pair encoding of tiktoken's encodings; ftkit/tokens/byte_pairs.py does the same in Python.

   A text is split into words as the regular expression of the encoding does it. Most words are
   tokens; any other is merged: the pair of neighbours with the lowest rank first, and the first of
   several. A text with a character of no known class is left to tiktoken. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef Py_GIL_DISABLED
#define LOCK Py_BEGIN_CRITICAL_SECTION
#define UNLOCK Py_END_CRITICAL_SECTION
#else
#define LOCK(object)
#define UNLOCK()
#endif

typedef unsigned char Byte;

#include "_classes.h"

enum { MAX_TOKEN = 128 };                /* bytes of the longest tokens */
enum { NO_RANK = 1 << 24 };              /* above all ranks */
enum { SEPARATOR = 0xFF };               /* around the tags of texts; UTF-8 does not have it */
enum { CACHE_BITS = 15 };                /* binary logarithm of the number of cached words */
enum { CACHED_WORD = 62 };               /* bytes of the longest of them */
static const char CAPSULE[] = "ftkit.tokens._pairs";

/* Classes of the characters, from RUNS. UTF-8 that is not valid stays within 21 bits, too. */
static Byte classes[1 << 21];

/* Classes of single bytes; 0 for the bytes of other characters. */
static Byte ascii[256];

enum { ANY_LETTER = UPPER | LOWER | LETTER, SYMBOL = OTHER | MARK, WHITE = SPACE | NEWLINE };
enum { UPPER_PART = UPPER | LETTER | MARK, LOWER_PART = LOWER | LETTER | MARK };

static void expand_classes(void) {
    for (size_t run = 0; run + 1 < sizeof RUNS / sizeof *RUNS; run++)
        for (uint32_t code = RUNS[run].start; code < RUNS[run + 1].start; code++)
            classes[code] = RUNS[run].class;
    memcpy(ascii, classes, 128);
}

/* The vocabulary: a hash table with open addressing. */

typedef struct {
    uint64_t head;   /* the first eight bytes, padded with zeros */
    uint32_t offset; /* of the whole token in `tokens` */
    uint32_t value;  /* size << 24 | rank; 0 for an empty slot */
} Slot;

typedef struct {
    Byte size, count;
    Byte word[CACHED_WORD];
} Merged;

typedef struct {
    uint32_t pair_ranks[1 << 16];   /* ranks of the tokens of two bytes */
    Merged merged[1 << CACHE_BITS]; /* words that were merged, by their hash */
    Slot *slots;
    Byte *tokens; /* all tokens, one after the other */
    int bits;     /* binary logarithm of the number of slots */
    int splits_case;
} Vocabulary;

typedef struct {
    const Byte *at;
    size_t size;
} Word;

typedef struct {
    uint64_t head; /* as in `Slot` */
    uint64_t hash;
} Key;

/* FTKIT_BYTEWISE selects the code for other compilers and machines, to test it. */
#if !defined FTKIT_BYTEWISE && defined __GNUC__ && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define IS_FAST 1
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#else
#define IS_FAST 0
#endif

static uint64_t load(const Byte *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Return the first eight bytes of a word, padded with zeros. Bytes before `end` can be read. */
static uint64_t head_of(Word word, const Byte *end) {
    if (word.size >= 8)
        return load(word.at);
#if IS_FAST
    if (end - word.at >= 8)
        return load(word.at) & ((UINT64_C(1) << 8 * word.size) - 1);
#endif
    (void)end;
    Byte bytes[8] = {0};
    for (size_t index = 0; index < word.size; index++)
        bytes[index] = word.at[index];
    return load(bytes);
}

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

/* Return the key of a word of at most MAX_TOKEN bytes. */
static Key key_of(Word word, const Byte *end) {
    uint64_t head = head_of(word, end);
    uint64_t hash = mix(word.size, head);
    for (size_t start = 8; start < word.size; start += 8)
        hash = mix(hash, load(word.at + (start + 8 <= word.size ? start : word.size - 8)));
    return (Key){head, hash};
}

/* Return the rank of a word, or NO_RANK if it is not a token. */
static uint32_t find(const Vocabulary *vocabulary, Word word, Key key) {
    size_t mask = ((size_t)1 << vocabulary->bits) - 1;
    for (size_t at = key.hash & mask;; at = (at + 1) & mask) {
        const Slot *slot = &vocabulary->slots[at];
        if (!slot->value)
            return NO_RANK;
        if (slot->head == key.head && slot->value >> 24 == word.size &&
            (word.size <= 8 ||
             !memcmp(vocabulary->tokens + slot->offset + 8, word.at + 8, word.size - 8)))
            return slot->value & 0xFFFFFF;
    }
}

static uint32_t rank_of(const Vocabulary *vocabulary, Word word, const Byte *end) {
    return word.size > MAX_TOKEN ? NO_RANK : find(vocabulary, word, key_of(word, end));
}

#if IS_FAST

/* Skip small ASCII letters, eight bytes at a time. With `fold`, 0x20, capital letters are skipped,
   too. Some may be left. */
static const Byte *skip_ascii(const Byte *at, const Byte *end, Byte fold) {
    while (end - at >= 8) {
        uint64_t word = load(at), low = (word | EACH(fold)) & EACH(0x7F);
        uint64_t letters = (low + EACH(0x80 - 'a')) & ~(low + EACH(0x7F - 'z')) & ~word;
        uint64_t others = ~letters & EACH(0x80);
        if (others)
            return at + __builtin_ctzll(others) / 8;
        at += 8;
    }
    return at;
}

#else

static const Byte *skip_ascii(const Byte *at, const Byte *end, Byte fold) {
    (void)end;
    (void)fold;
    return at;
}

#endif

/* Splitting. Each function returns the end of what it reads, or NULL. */

typedef struct {
    int class;
    int size;
} Character;

static Character character_at(const Byte *at) {
    if (at[0] < 0x80)
        return (Character){classes[at[0]], 1};
    if (at[0] < 0xE0)
        return (Character){classes[(at[0] & 0x1F) << 6 | (at[1] & 0x3F)], 2};
    uint32_t rest = (uint32_t)(at[1] & 0x3F) << 6 | (at[2] & 0x3F);
    if (at[0] < 0xF0)
        return (Character){classes[(uint32_t)(at[0] & 0xF) << 12 | rest], 3};
    return (Character){classes[((uint32_t)(at[0] & 7) << 18 | rest << 6 | (at[3] & 0x3F))], 4};
}

/* Skip the characters of some classes. */
static inline const Byte *skip(const Byte *at, const Byte *end, int some) {
    for (;;) {
        while (at < end && ascii[*at] & some)
            at++;
        if (at == end || *at < 0x80)
            return at;
        Character character = character_at(at);
        if (!(character.class & some))
            return at;
        at += character.size;
    }
}

/* Read '(?i:[sdmt]|ll|ve|re). */
static const Byte *read_contraction(const Byte *at, const Byte *end) {
    if (end - at < 2 || *at != '\'')
        return NULL;
    Byte first = at[1] | 0x20;
    if (first == 's' || first == 'd' || first == 'm' || first == 't')
        return at + 2;
    Byte second = end - at > 2 ? at[2] | 0x20 : 0;
    if ((first == 'l' && second == 'l') || (first == 'v' && second == 'e') ||
        (first == 'r' && second == 'e'))
        return at + 3;
    return NULL;
}

/* Read a word with lower case: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ */
static const Byte *read_lower(const Byte *at, const Byte *end) {
    const Byte *last = NULL; /* the end of the last character that can be in both parts */
    while (at < end) {
        Character character = character_at(at);
        if (character.class & LOWER)
            return skip(skip_ascii(at, end, 0), end, LOWER_PART);
        if (!(character.class & UPPER_PART))
            break;
        at += character.size;
        if (character.class & LOWER_PART)
            last = at;
    }
    return last;
}

/* Read a word without lower case: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+ */
static const Byte *read_upper(const Byte *at, const Byte *end) {
    const Byte *stop = skip(at, end, UPPER_PART);
    return stop > at ? stop : NULL;
}

/* Read a word of letters of o200k_base. A mark is either its first letter, or before it. */
static const Byte *read_case(const Byte *at, const Byte *end, Character first) {
    const Byte *letters = first.class & (SYMBOL | SPACE) ? at + first.size : at;
    const Byte *stop = read_lower(letters, end);
    stop = stop ? stop : read_lower(at, end);
    stop = stop ? stop : read_upper(letters, end);
    stop = stop ? stop : read_upper(at, end);
    const Byte *contraction = stop ? read_contraction(stop, end) : NULL;
    return contraction ? contraction : stop;
}

/* Read a word of letters of cl100k_base. */
static const Byte *read_letters(const Byte *at, const Byte *end, Character first) {
    const Byte *letters = first.class & (SYMBOL | SPACE) ? at + first.size : at;
    const Byte *stop = skip(skip_ascii(letters, end, 0x20), end, ANY_LETTER);
    return stop > letters ? stop : NULL;
}

/* Read \p{N}{1,3} */
static const Byte *read_number(const Byte *at, const Byte *end) {
    for (int count = 0; at < end && count < 3; count++) {
        Character character = character_at(at);
        if (!(character.class & NUMBER))
            break;
        at += character.size;
    }
    return at;
}

/* Read white space: through its last line break, else all but the last character, which belongs to
   the next word. */
static const Byte *read_white(const Byte *at, const Byte *end, int splits_case) {
    const Byte *stop = skip(at, end, WHITE);
    if (stop == end && !splits_case)
        return end;
    for (const Byte *back = stop; back > at; back--)
        if (back[-1] == '\n' || back[-1] == '\r')
            return back;
    if (stop == end)
        return end;
    const Byte *last = stop;
    do
        last--;
    while ((*last & 0xC0) == 0x80);
    return last > at ? last : stop;
}

/* Read a word. Return NULL at a character of no class. */
static const Byte *read_word(const Byte *at, const Byte *end, int splits_case) {
    Character first = character_at(at);
    const Byte *stop = NULL;
    if (!first.class)
        return NULL;
    if (!splits_case)
        stop = read_contraction(at, end);
    if (!stop)
        stop = splits_case ? read_case(at, end, first) : read_letters(at, end, first);
    if (stop)
        return stop;
    if (first.class & NUMBER)
        return read_number(at, end);
    const Byte *symbols = *at == ' ' ? at + 1 : at;
    stop = skip(symbols, end, SYMBOL);
    if (stop == symbols)
        return read_white(at, end, splits_case);
    while (stop < end && (*stop == '\r' || *stop == '\n' || (splits_case && *stop == '/')))
        stop++;
    return stop;
}

/* Merging. */

/* Return the number of tokens of a short word. It takes quadratic time. */
static int merge_short(const Vocabulary *vocabulary, Word word, const Byte *end) {
    int starts[MAX_TOKEN + 1];
    uint32_t ranks[MAX_TOKEN + 1];
    int count = (int)word.size; /* of parts; part i is from starts[i] to starts[i + 1] */
    for (int i = 0; i <= count; i++)
        starts[i] = i;
    for (int i = 0; i + 1 < count; i++) /* ranks[i] is that of parts i and i + 1, merged */
        ranks[i] = vocabulary->pair_ranks[word.at[i] << 8 | word.at[i + 1]];
    for (;;) {
        int lowest = 0;
        for (int i = 1; i + 1 < count; i++)
            if (ranks[i] < ranks[lowest])
                lowest = i;
        if (count < 2 || ranks[lowest] == NO_RANK)
            return count;
        memmove(starts + lowest + 1, starts + lowest + 2,
                (size_t)(count - lowest - 1) * sizeof *starts);
        memmove(ranks + lowest, ranks + lowest + 1, (size_t)(count - lowest - 1) * sizeof *ranks);
        count--;
        for (int i = lowest ? lowest - 1 : 0; i <= lowest && i + 1 < count; i++) {
            Word pair = {word.at + starts[i], (size_t)(starts[i + 2] - starts[i])};
            ranks[i] = rank_of(vocabulary, pair, end);
        }
    }
}

/* A part of a long word, which begins at the byte of the same index. */
typedef struct {
    uint32_t before, after; /* the neighbours; `after` is the end of the part, too */
    uint32_t rank;          /* of the part and the one after it, merged; NO_RANK if there is none */
} Part;

typedef struct {
    uint64_t *entries; /* rank << 32 | part: the lowest rank is the first, and the first of several */
    size_t size;
} Heap;

static void push(Heap *heap, uint64_t entry) {
    size_t at = heap->size++;
    for (; at && heap->entries[(at - 1) / 2] > entry; at = (at - 1) / 2)
        heap->entries[at] = heap->entries[(at - 1) / 2];
    heap->entries[at] = entry;
}

static uint64_t pop(Heap *heap) {
    uint64_t first = heap->entries[0], last = heap->entries[--heap->size];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap->size; at = child) {
        if (child + 1 < heap->size && heap->entries[child + 1] < heap->entries[child])
            child++;
        if (last <= heap->entries[child])
            break;
        heap->entries[at] = heap->entries[child];
    }
    heap->entries[at] = last;
    return first;
}

static void rank_part(const Vocabulary *vocabulary, Word word, Part *parts, uint32_t part,
                      Heap *heap, const Byte *end) {
    uint32_t after = parts[part].after;
    parts[part].rank = NO_RANK;
    if (after == word.size)
        return;
    Word pair = {word.at + part, parts[after].after - part};
    parts[part].rank = rank_of(vocabulary, pair, end);
    if (parts[part].rank != NO_RANK)
        push(heap, (uint64_t)parts[part].rank << 32 | part);
}

/* Return the number of tokens of a long word, or -1 without enough memory. */
static Py_ssize_t merge_long(const Vocabulary *vocabulary, Word word, const Byte *end) {
    uint32_t size = (uint32_t)word.size;
    /* A merge takes one entry from the heap and adds at most two. */
    Heap heap = {PyMem_Malloc(size * (2 * sizeof(uint64_t) + sizeof(Part))), 0};
    if (!heap.entries)
        return -1;
    Part *parts = (Part *)(heap.entries + 2 * (size_t)size);
    for (uint32_t i = 0; i < size; i++)
        parts[i] = (Part){i ? i - 1 : 0, i + 1, NO_RANK};
    for (uint32_t i = 0; i < size; i++)
        rank_part(vocabulary, word, parts, i, &heap, end);
    Py_ssize_t count = size;
    while (heap.size) {
        uint64_t entry = pop(&heap);
        uint32_t part = (uint32_t)entry;
        if (parts[part].rank != entry >> 32)
            continue; /* merged since */
        uint32_t merged = parts[part].after;
        parts[merged].rank = NO_RANK;
        parts[part].after = parts[merged].after;
        if (parts[part].after < size)
            parts[parts[part].after].before = part;
        count--;
        rank_part(vocabulary, word, parts, part, &heap, end);
        if (part)
            rank_part(vocabulary, word, parts, parts[part].before, &heap, end);
    }
    PyMem_Free(heap.entries);
    return count;
}

/* Counting. */

/* Return the number of tokens of a word, or -1 without enough memory. */
static Py_ssize_t count_word(Vocabulary *vocabulary, Word word, const Byte *end) {
    if (word.size > MAX_TOKEN)
        return merge_long(vocabulary, word, end);
    Key key = key_of(word, end);
    if (find(vocabulary, word, key) != NO_RANK)
        return 1;
    if (word.size > CACHED_WORD)
        return merge_short(vocabulary, word, end);
    Merged *merged = &vocabulary->merged[key.hash >> (64 - CACHE_BITS)];
    if (merged->size != word.size || memcmp(merged->word, word.at, word.size)) {
        merged->size = (Byte)word.size;
        merged->count = (Byte)merge_short(vocabulary, word, end);
        memcpy(merged->word, word.at, word.size);
    }
    return merged->count;
}

enum { LEFT_TO_TIKTOKEN = -1, FAILED = -2 };

/* Return the number of tokens of a text, LEFT_TO_TIKTOKEN or FAILED. A token has at least one
   byte: if that shows that there are no more than `enough`, return a number up to `enough`. */
static Py_ssize_t count_text(Vocabulary *vocabulary, const Byte *at, const Byte *end,
                             Py_ssize_t enough) {
    Py_ssize_t count = 0;
    while (at < end && count + (end - at) > enough) {
        const Byte *stop = read_word(at, end, vocabulary->splits_case);
        if (!stop)
            return LEFT_TO_TIKTOKEN;
        Py_ssize_t tokens = count_word(vocabulary, (Word){at, (size_t)(stop - at)}, end);
        if (tokens < 0)
            return FAILED;
        count += tokens;
        at = stop;
    }
    return count + (end - at);
}

typedef struct {
    const Byte *end, *after; /* the ends of a text and of its tag */
} Tagged;

/* Find the next tagged text: the text, 0xFF, a tag and 0xFF. Return an empty one if it is not. */
static Tagged find_tagged(const Byte *at, const Byte *end) {
    const Byte *stop = memchr(at, SEPARATOR, (size_t)(end - at));
    const Byte *after = stop ? memchr(stop + 1, SEPARATOR, (size_t)(end - stop - 1)) : NULL;
    if (after)
        return (Tagged){stop, after + 1};
    PyErr_SetString(PyExc_ValueError, "a text has no tag");
    return (Tagged){NULL, NULL};
}

/* Append the count of a text to a list and return it, or FAILED. */
static Py_ssize_t append_count(Vocabulary *vocabulary, PyObject *counts, const Byte *at,
                               const Byte *end, Py_ssize_t enough) {
    Py_ssize_t count = count_text(vocabulary, at, end, enough);
    PyObject *number = count == FAILED ? PyErr_NoMemory() : PyLong_FromSsize_t(count);
    int is_appended = number && !PyList_Append(counts, number);
    Py_XDECREF(number);
    return is_appended ? count : FAILED;
}

static int append_string(Vocabulary *vocabulary, PyObject *counts, PyObject *text) {
    Py_ssize_t size;
    const Byte *data = (const Byte *)PyUnicode_AsUTF8AndSize(text, &size);
    return data && append_count(vocabulary, counts, data, data + size, -1) != FAILED;
}

static int append_tagged(Vocabulary *vocabulary, PyObject *counts, PyObject *texts) {
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(texts, &data, &size) < 0)
        return 0;
    for (const Byte *at = (const Byte *)data, *end = at + size; at < end;) {
        Tagged text = find_tagged(at, end);
        if (!text.end || append_count(vocabulary, counts, at, text.end, -1) == FAILED)
            return 0;
        at = text.after;
    }
    return 1;
}

/* Count each item of a tuple with one of the functions above. */
static PyObject *count_items(PyObject *arguments,
                             int (*append)(Vocabulary *, PyObject *, PyObject *)) {
    PyObject *capsule, *items;
    if (!PyArg_ParseTuple(arguments, "OO!", &capsule, &PyTuple_Type, &items))
        return NULL;
    Vocabulary *vocabulary = PyCapsule_GetPointer(capsule, CAPSULE);
    PyObject *counts = vocabulary ? PyList_New(0) : NULL;
    LOCK(capsule);
    for (Py_ssize_t index = 0; counts && index < PyTuple_Size(items); index++)
        if (!append(vocabulary, counts, PyTuple_GetItem(items, index)))
            Py_CLEAR(counts);
    UNLOCK();
    return counts;
}

static PyObject *count_texts(PyObject *module, PyObject *arguments) {
    (void)module;
    return count_items(arguments, append_string);
}

static PyObject *count_tagged(PyObject *module, PyObject *arguments) {
    (void)module;
    return count_items(arguments, append_tagged);
}

/* Append the counts of tagged texts until the upper bound of their tokens is at most `limit`, with
   `overhead` for each text; a tag has at least as many bytes. Return the bound, or -1. */
static Py_ssize_t append_until(Vocabulary *vocabulary, PyObject *counts, PyObject *texts,
                               Py_ssize_t limit, Py_ssize_t overhead) {
    char *data;
    Py_ssize_t bound;
    if (PyBytes_AsStringAndSize(texts, &data, &bound) < 0)
        return -1;
    for (const Byte *at = (const Byte *)data, *end = at + bound; at < end && bound > limit;) {
        Tagged text = find_tagged(at, end);
        if (!text.end)
            return -1;
        bound -= text.after - at;
        Py_ssize_t count =
            append_count(vocabulary, counts, at, text.end, limit - bound - overhead);
        if (count == FAILED)
            return -1;
        bound += (count < 0 ? text.end - at : count) + overhead;
        at = text.after;
    }
    return bound;
}

static PyObject *count_over(PyObject *module, PyObject *arguments) {
    PyObject *capsule, *texts;
    Py_ssize_t limit, overhead, bound = -1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOnn", &capsule, &texts, &limit, &overhead))
        return NULL;
    Vocabulary *vocabulary = PyCapsule_GetPointer(capsule, CAPSULE);
    PyObject *counts = vocabulary ? PyList_New(0) : NULL;
    if (!counts)
        return NULL;
    LOCK(capsule);
    bound = append_until(vocabulary, counts, texts, limit, overhead);
    UNLOCK();
    if (bound >= 0 && bound > limit)
        return counts;
    Py_DECREF(counts);
    if (bound < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Loading. */

/* Return six bits of Base64, or 64. */
static int digit_of(Byte letter) {
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : 64;
}

/* Read Base64 and write its bytes. */
static const Byte *read_base64(const Byte *at, const Byte *end, Byte **out) {
    uint32_t bits = 0;
    int count = 0;
    for (int digit; at < end && (digit = digit_of(*at)) < 64; at++) {
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            *(*out)++ = (Byte)(bits >> count);
        }
    }
    while (at < end && *at == '=')
        at++;
    return at;
}

static void add_token(Vocabulary *vocabulary, Word token, uint32_t rank) {
    size_t mask = ((size_t)1 << vocabulary->bits) - 1;
    Key key = key_of(token, token.at + token.size);
    size_t at = key.hash & mask;
    while (vocabulary->slots[at].value)
        at = (at + 1) & mask;
    vocabulary->slots[at] = (Slot){key.head, (uint32_t)(token.at - vocabulary->tokens),
                                   (uint32_t)token.size << 24 | rank};
    if (token.size == 2)
        vocabulary->pair_ranks[token.at[0] << 8 | token.at[1]] = rank;
}

/* Read lines of a token in Base64, a space and its rank. Return true if all are such lines. */
static int read_tokens(Vocabulary *vocabulary, const Byte *at, const Byte *end) {
    for (Byte *out = vocabulary->tokens; at < end;) {
        Byte *start = out;
        at = read_base64(at, end, &out);
        if (out == start || out - start > MAX_TOKEN || at == end || *at++ != ' ')
            return 0;
        uint32_t rank = 0;
        for (; at < end && *at >= '0' && *at <= '9' && rank < NO_RANK / 10; at++)
            rank = 10 * rank + (uint32_t)(*at - '0');
        if (at == end || *at++ != '\n')
            return 0;
        add_token(vocabulary, (Word){start, (size_t)(out - start)}, rank);
    }
    return 1;
}

static void free_vocabulary(Vocabulary *vocabulary) {
    if (vocabulary) {
        PyMem_Free(vocabulary->slots);
        PyMem_Free(vocabulary->tokens);
        PyMem_Free(vocabulary);
    }
}

static void free_capsule(PyObject *capsule) {
    free_vocabulary(PyCapsule_GetPointer(capsule, CAPSULE));
}

static PyObject *load_vocabulary(PyObject *module, PyObject *arguments) {
    const char *data;
    Py_ssize_t size, count = 0;
    int splits_case;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y#p", &data, &size, &splits_case))
        return NULL;
    for (const char *line = data; (line = memchr(line, '\n', (size_t)(data + size - line))); line++)
        count++;
    Vocabulary *vocabulary = PyMem_Calloc(1, sizeof *vocabulary);
    if (!vocabulary)
        return PyErr_NoMemory();
    vocabulary->splits_case = splits_case;
    for (vocabulary->bits = 4; (Py_ssize_t)1 << vocabulary->bits < 2 * count; vocabulary->bits++) {
    }
    vocabulary->slots = PyMem_Calloc((size_t)1 << vocabulary->bits, sizeof(Slot));
    vocabulary->tokens = PyMem_Malloc((size_t)size + 1);
    for (size_t pair = 0; pair < 1 << 16; pair++)
        vocabulary->pair_ranks[pair] = NO_RANK;
    PyObject *capsule = NULL;
    if (!vocabulary->slots || !vocabulary->tokens)
        PyErr_NoMemory();
    else if (!read_tokens(vocabulary, (const Byte *)data, (const Byte *)data + size))
        PyErr_SetString(PyExc_ValueError, "not a vocabulary");
    else
        capsule = PyCapsule_New(vocabulary, CAPSULE, free_capsule);
    if (!capsule)
        free_vocabulary(vocabulary);
    return capsule;
}

static PyMethodDef METHODS[] = {
    {"load", load_vocabulary, METH_VARARGS, "Return a vocabulary."},
    {"count_texts", count_texts, METH_VARARGS, "Return the number of tokens of each text, or -1."},
    {"count_tagged", count_tagged, METH_VARARGS, "The same of each text in tagged texts."},
    {"count_over", count_over, METH_VARARGS, "The same, or None if they are within a limit."},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
    (void)module;
    expand_classes();
    return 0;
}

static PyModuleDef_Slot SLOTS[] = {
    {Py_mod_exec, (void *)execute},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* counting locks the vocabulary */
#endif
    {0, NULL},
};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_pairs",
    .m_methods = METHODS,
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__pairs(void) { return PyModuleDef_Init(&MODULE); }
