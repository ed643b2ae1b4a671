/* What the files of the kernel share. Its story is in docs/decisions/0017-a-kernel-of-our-own.md. */
#ifndef RECOSERVE_KERNEL_H
#define RECOSERVE_KERNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    BLOCK = 32,     /* items that share one bound */
    QUAD = 4,       /* dimensions that one instruction multiplies */
    LINE = 64,      /* bytes of a line of the cache */
    MOST_DIM = 1024,
    MOST_QUERIES = 64, /* scanned together */
};

/* Ask for memory early. Inlined wherever it stands, since GCC takes a call of a function that does nothing else for nothing at all. */
static inline __attribute__((always_inline)) void fetch(const void *from, int64_t bytes)
{
    for (int64_t byte = 0; byte < bytes; byte += LINE)
        __builtin_prefetch((const char *)from + byte);
}

/* A catalogue, read only; the caller keeps what it points to. */
typedef struct {
    const float *rows;               /* [items, dim] */
    const int64_t *piece_items;      /* of the int8 copy as the bundle has it, [dim, piece_items[i]] each, turned by `rotation` */
    const float *rotation;           /* [dim, dim] */
    const float *step;               /* [blocks]: what 1 in the int8 copy is worth */
    const float *error;              /* [blocks]: the longest difference between an item and its int8 copy, rounding included */
    const float *norm;               /* [blocks]: the longest int8 copy */
    const uint8_t *heads, *tails;    /* the int8 copy in the order that is multiplied; see `fill` */
    const uint16_t *rests;           /* every item's length beyond the head, in steps, rounded up */
    int64_t items, piece_count;
    int32_t dim;
    int32_t head;                    /* dimensions that are looked at first, whole quads; `dim`: all of them */
} Table;

/* What is asked with a vector: the k largest products, without what is excluded (ascending) or not in the mask. */
typedef struct {
    int64_t k, excluded_count;
    const int64_t *excluded;
    const uint32_t *mask;            /* a bit for every item, a word for every block; or none */
} Wanted;

/* The answer to it. */
typedef struct {
    int64_t found, scored;           /* how many items there are; how many were scored for them */
} Counts;

typedef struct {
    Wanted wanted;
    const float *vector;             /* [dim] */
    int64_t *rows;                   /* room for k, best first, equals by row */
    float *products;                 /* room for k */
    Counts *counts;
} Query;

typedef struct {
    float bound;                     /* in the query's units */
    int64_t row;
} Candidate;

typedef struct {
    float product;
    int64_t row;
} Item;

/* What one thread has found for one query so far. */
typedef struct {
    float *lower;                    /* heap, its least on top: products in units that so many items reach at least */
    Item *best;                      /* heap, its worst on top; the first thread's alone */
    Candidate *waiting;              /* items that may be one of the k, not scored yet */
    int64_t lowers, bests, waits, room, scored;
} Found;

/* One group of queries, answered by all threads. Arrays by query, as the scan reads them. */
typedef struct {
    const Table *table;
    Query queries[MOST_QUERIES];
    int32_t count, threads;
    Found *found;                            /* [threads, count] */
    int32_t rest[MOST_QUERIES];              /* its length beyond the head, in steps, rounded up */
    int32_t offset[2][MOST_QUERIES];         /* what the items' offset adds to a product: of the head, of all dimensions */
    float unit[MOST_QUERIES];                /* what 1 of the rounded query is worth */
    float length[MOST_QUERIES];              /* of the query, in units, rounded up */
    float lost[MOST_QUERIES];                /* of what rounding took, in units, rounded up */
    _Atomic float reached[MOST_QUERIES];     /* in units: bounds below it are of no interest */
    atomic_llong next_span, spans_done, next_query;
    int64_t spans;
    atomic_bool failed;                      /* for want of memory */
    int32_t words[MOST_QUERIES][MOST_DIM / QUAD]; /* the rounded query, four signed bytes a word; the last, since it is the largest */
} Job;

/* scan.c */
extern const int32_t levels; /* a query is rounded to -levels ... levels */
int64_t spans_of(const Table *table);
void scan(Job *job, int32_t thread);

/* best.c */
float offer_lower(Found *found, int64_t k, float product);
bool wait_for(Found *found, float bound, int64_t row);
uint32_t allowed_in(const Table *table, const Wanted *wanted, int64_t block);
void answer(Job *job, int32_t n);

/* pool.c */
typedef struct Pool Pool;
int32_t pool_threads(const Pool *pool);
void pool_run(Pool *pool, Job *job);

#endif
