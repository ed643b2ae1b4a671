/* The interface of the search kernel: every function that a built library exports, and nothing else.
 *
 * The kernel finds, for each query, the k items with the largest dot products, exactly. It scans an int8 index of the items for
 * upper bounds, keeps the items whose bound reaches a threshold as candidates, and rescores those in float32. The design and what
 * was measured are in docs/decisions/0017-a-kernel-of-our-own.md.
 *
 * Words:
 *   item        one row of the table that is searched.
 *   block       BLOCK items in a row. They share a step, a rounding error and a norm, and so a bound.
 *   quad        QUAD dimensions in a row, the most that one instruction multiplies for each item.
 *   tile        one or two blocks, laid out as the processor multiplies them; see tiles.h.
 *   span        the tiles that a thread takes at once, 4,096 items.
 *   piece       the items of one file of the int8 index, int8 [dim, items of the piece].
 *   head, tail  the leading dimensions, multiplied for all items, and the others, multiplied where the head rules no tile out.
 *   residual norm  the Euclidean length of a vector's tail, of an item in steps, of a query in units, rounded up.
 *   step, unit  what 1 stands for in the int8 index (of a block), and in a query rounded to integers.
 *   bound       a number that an item's product, or the products of all items of a block, don't exceed.
 *   threshold   a number that at least k items' products reach. An item with a lower bound isn't one of the k best.
 *   candidate   an item whose bound reached the threshold when the scan came to it.
 *   rescore     to compute a candidate's product from its float32 row.
 *   hit         one of a query's k best items, with its product.
 *
 * Every function trusts its arguments: nothing is checked here, `recoserve.search.kernel` does it. Pointers aren't NULL where it
 * isn't said that they may be, arrays are C-contiguous, and floats are finite.
 *
 * Memory: what a caller passes stays the caller's. The kernel keeps no pointer to it after the call, except that a pool belongs to
 * its caller from `rs_pool_open` to `rs_pool_close`.
 */
#ifndef RECOSERVE_KERNEL_H
#define RECOSERVE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* A library is compiled with -fvisibility=hidden: only what is marked can be called from outside. With -Bsymbolic, the
 * library's own calls of it stay inside, whatever else of that name is loaded. */
#define RS_EXPORT __attribute__((visibility("default")))

enum {
    BLOCK = 32,      /* items; also in `recoserve.bundle.contract`: bundles hold one step, error and norm for each block */
    QUAD = 4,        /* dimensions; also in `recoserve.bundle.leading_dimensions`, which chooses whole quads */
    CACHE_LINE = 64, /* bytes */
    MAX_DIM = 1024,  /* sums of int8 products of so many dimensions fit 32 bits with room to spare */
};

/* What Python has to know of a library or has to agree with; sizes in bytes. */
typedef struct {
    int32_t block, quad;
    int32_t max_dim;    /* the largest `dim` of an index */
    int32_t alignment;  /* of `heads`, `tails` and `residual_norms` */
    int32_t index_size, query_size, counts_size; /* sizeof of the structures below */
} rs_constants;

/* A laid-out index: the items in float32 and in int8. Read only; the arrays have to outlive every call that gets the structure. */
typedef struct {
    const float *rows;            /* [item_count, dim] */
    const int64_t *piece_items;   /* [piece_count]: items of each piece, whole blocks; the last piece is padded with zeros */
    const float *rotation;        /* [dim, dim]: orthogonal; the int8 index holds `rows @ rotation` */
    const float *step;            /* [blocks]: positive */
    const float *error;           /* [blocks]: the largest distance of an item from its int8 copy, float32 rounding included */
    const float *norm;            /* [blocks]: the norm of the longest int8 copy, times `step` */
    const uint8_t *heads, *tails; /* written by `rs_fill_span` */
    const uint16_t *residual_norms; /* written by it too */
    int64_t item_count;           /* at least 1 */
    int64_t piece_count;
    int32_t dim;                  /* 1 to MAX_DIM */
    int32_t head_dim;             /* dimensions in the head: whole quads, or `dim` where there is no tail */
} rs_index;

/* Bytes of the arrays that `rs_fill_span` writes. */
typedef struct {
    int64_t heads, tails, residual_norms;
} rs_layout;

/* What to search for beside the vector. */
typedef struct {
    int64_t k;               /* at least 1; may exceed `item_count` */
    int64_t excluded_count;
    const int64_t *excluded; /* [excluded_count]: rows that may not be hits, distinct, ascending; NULL where there are none */
    const uint32_t *mask;    /* [blocks]: bit i of word b is set where item BLOCK * b + i may be among the k; NULL: all may */
} rs_query;

/* How many hits a query has, at most k, and how many items were rescored for them. */
typedef struct {
    int64_t hits, rescored;
} rs_counts;

/* Threads that search together. */
typedef struct rs_pool rs_pool;

/**
 * @brief Reports the constants and the sizes of structures that the library was compiled with.
 *
 * A caller that declares the structures by itself, as Python does, compares them before any other call.
 *
 * @param[out] constants Overwritten.
 * @note Thread-safe. Doesn't fail.
 */
RS_EXPORT void rs_get_constants(rs_constants *constants);

/**
 * @brief Adds up the energy of each dimension of the int8 index, from which the head is chosen.
 *
 * @param[in] index `step`, `piece_items`, `piece_count` and `dim` are read.
 * @param[in] pieces [piece_count] pointers to int8 [dim, items of the piece].
 * @param[in,out] energies double [dim]; the sum over all items of the square of the dimension, in the items' own units, is added to
 *     each.
 * @note Thread-safe for different `energies`. Doesn't fail.
 */
RS_EXPORT void rs_add_energies(const rs_index *index, const int8_t *const *pieces, double *energies);

/**
 * @brief Tells how much memory the layout of an index needs.
 *
 * @param[in] index `piece_items`, `piece_count`, `dim` and `head_dim` are read.
 * @param[out] bytes Overwritten with the sizes of `heads`, `tails` and `residual_norms`.
 * @note Thread-safe. Doesn't fail.
 */
RS_EXPORT void rs_layout_bytes(const rs_index *index, rs_layout *bytes);

/**
 * @brief Counts the spans of an index.
 *
 * @param[in] index `piece_items` and `piece_count` are read.
 * @return How many spans `rs_fill_span` has to be called for.
 * @note Thread-safe. Doesn't fail.
 */
RS_EXPORT int64_t rs_span_count(const rs_index *index);

/**
 * @brief Copies one span of the int8 index into the layout that the scan reads. An index is ready when this was called for every
 * span.
 *
 * @param[in] index All but `rows`, `rotation`, `step`, `error` and `norm` is read. `heads`, `tails` and `residual_norms` point to
 *     zeros, of the sizes that `rs_layout_bytes` tells, aligned to `rs_constants.alignment` bytes.
 * @param[in] pieces [piece_count] pointers to int8 [dim, items of the piece]; not needed after the last call.
 * @param[in] span 0 to `rs_span_count` - 1.
 * @param[out] heads, tails, residual_norms The same addresses as in `index`, to be written to.
 * @note Thread-safe for different spans: they write to different bytes. Doesn't fail.
 */
RS_EXPORT void rs_fill_span(const rs_index *index, const int8_t *const *pieces, int64_t span, uint8_t *heads, uint8_t *tails,
                            uint16_t *residual_norms);

/**
 * @brief Starts the threads that search together with the one that calls `rs_search`. They sleep between searches.
 *
 * @param[in] threads How many search together, the calling one included, at least 1. Where the system starts no more, the pool has
 *     fewer.
 * @return A pool that the caller gives back with `rs_pool_close`; NULL for want of memory.
 * @note Thread-safe.
 */
RS_EXPORT rs_pool *rs_pool_open(int32_t threads);

/**
 * @brief Ends the pool's threads, waits for them and frees its memory.
 *
 * @param[in] pool Not used by any search, now or later; not closed before.
 * @note Doesn't fail.
 */
RS_EXPORT void rs_pool_close(rs_pool *pool);

/**
 * @brief Finds the k best items of each query. A query's hits are the same bits whatever the other queries and however many
 * threads.
 *
 * @param[in] index A laid-out index.
 * @param[in] pool Any pool; while another call uses its threads, this one searches in the calling thread alone.
 * @param[in] vectors float [query_count, dim].
 * @param[in] queries [query_count].
 * @param[in] query_count Any number; batches of 64 are scanned together.
 * @param[out] rows int64, room for every query's k, one query after the other: the hits' rows, best product first, equal products
 *     by ascending row. Behind a query's last hit nothing is written.
 * @param[out] products float, as many: the hits' float32 products.
 * @param[out] counts [query_count].
 * @return False for want of memory; then what was written to the output is of no use.
 * @note Thread-safe, with the same index and the same pool as well.
 */
RS_EXPORT bool rs_search(const rs_index *index, rs_pool *pool, const float *vectors, const rs_query *queries, int64_t query_count,
                         int64_t *rows, float *products, rs_counts *counts);

#endif
