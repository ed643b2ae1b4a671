/* The scan: upper bounds of the products of every block of items, and the candidates among the items of those that matter.
 *
 * A tile is multiplied by all queries of a batch while it is in the first-level cache. Its head gives a first bound: with a query q
 * and an item v cut into head and tail, q.v <= head(q).head(v) + |tail(q)| |tail(v)| (Cauchy-Schwarz). Only where that survives,
 * which is where it reaches the threshold, is the tile multiplied in all dimensions.
 *
 * All comparisons with a threshold are in the query's units. A bound may be too high (the item is rescored, and loses) and never
 * too low (the item would be lost); a threshold the other way round. */
#include "batch.h"
#include "multiply.h"
#include "simd.h"
#include "tiles.h"

#include <float.h>
#include <math.h>

enum {
    PROBE_TILES = 512 / TILE,  /* after so many tiles it is decided whether heads are worth multiplying first */
    SURVIVOR_SHARE = 2,        /* they aren't where more than one in so many pairs of tile and query survives them */
    FULL_TILES = 8192 / TILE,  /* multiplied without heads first then */
    FEW_QUERIES = 4,           /* tested one by one; testing more in one vectorised loop is faster */
    PREFETCH_TILES = 4,        /* heads are fetched so many tiles early */
    CACHED_BYTES = 8 << 20,    /* stay in a cache from one scan to the next; fetching them early costs more than it gains */
    SUM_LIMIT = 1 << 29,       /* beyond any sum */
    SUM_MARGIN = 4,            /* see `least_sum` */
};

/* What one thread scans for. */
typedef struct {
    Batch *batch;
    CandidateList *candidates;       /* [count] */
    float threshold[MAX_BATCH];      /* as far as this thread knows */
    const int32_t *words[MAX_BATCH];
    bool filtered[MAX_BATCH];        /* not every item is allowed */
    bool prefetch_heads, prefetch_tails;
} Scanner;

/* By how much rounding the query and the block's items may have changed a product. */
static float rounding_error(const Batch *batch, int32_t n, int64_t block)
{
    return batch->norm[n] * batch->index->error[block] + batch->error[n] * batch->index->norm[block];
}

/* The product that a sum stands for. */
static float product_of_sum(const Batch *batch, int32_t n, int64_t block, Depth depth, int32_t sum)
{
    return (float)(sum - batch->offset[depth][n]) * batch->index->step[block];
}

/* Whether a tile survives for a query: the bound of one of its blocks reaches the threshold. `maxima` points to the query's
 * first. */
static bool survives(const Scanner *scanner, int32_t n, int64_t block, int64_t blocks, Depth depth, const int32_t *maxima)
{
    const Batch *batch = scanner->batch;
    bool any = false; /* without a branch for each block */
    for (int64_t i = 0; i < blocks; i++, block++, maxima += MAXIMA_STRIDE)
        any |= product_of_sum(batch, n, block, depth, *maxima) + rounding_error(batch, n, block) >= scanner->threshold[n];
    return any;
}

/* As `survives`, for all queries in one loop that compilers vectorise. Writes the numbers of those that the tile survives for,
 * and returns how many they are. */
static int32_t find_survivors(const Scanner *scanner, int64_t block, int64_t blocks, int32_t (*maxima)[MAXIMA_STRIDE], Depth depth,
                              int32_t *survivors)
{
    const Batch *batch = scanner->batch;
    uint8_t reaches[MAX_BATCH] = {0};
    for (int64_t i = 0; i < blocks; i++) {
        float step = batch->index->step[block + i], error = batch->index->error[block + i], norm = batch->index->norm[block + i];
        for (int32_t n = 0; n < batch->count; n++) {
            float product = (float)(maxima[i][n] - batch->offset[depth][n]) * step;
            reaches[n] |= product + (batch->norm[n] * error + batch->error[n] * norm) >= scanner->threshold[n];
        }
    }
    int32_t count = 0;
    for (uint64_t bits = bits_of_bytes(reaches); bits; bits &= bits - 1)
        survivors[count++] = __builtin_ctzll(bits);
    return count;
}

/* A sum in all dimensions that no candidate is below. An item that this leaves out isn't seen again, while one too many is
 * tested by its bound once more: so the sum is lower than computed, by more than float32 may err in numbers of this size. */
static int32_t least_sum(const Scanner *scanner, int32_t n, int64_t block)
{
    const Batch *batch = scanner->batch;
    /* Finite: the products of large rows may be infinite in units. */
    float threshold = scanner->threshold[n] < FLT_MAX ? scanner->threshold[n] : FLT_MAX;
    float least = (threshold - rounding_error(batch, n, block)) / batch->index->step[block];
    if (!(least > -SUM_LIMIT)) /* a NaN too */
        return -SUM_LIMIT;
    return batch->offset[ALL_DIMENSIONS][n] + (least < SUM_LIMIT ? (int32_t)floorf(least) : SUM_LIMIT) - SUM_MARGIN;
}

static void raise_threshold(Scanner *scanner, int32_t n, float threshold)
{
    scanner->threshold[n] = threshold > scanner->threshold[n] ? threshold : scanner->threshold[n];
}

/* Adds the items of a tile whose bound reaches a query's threshold to its candidates, and raises the threshold by their lower
 * bounds. */
static void collect_candidates(Scanner *scanner, int32_t n, Tile tile, int64_t block, int64_t blocks, bool filtered)
{
    Batch *batch = scanner->batch;
    const rs_query *query = batch->queries + n;
    _Alignas(CACHE_LINE) int32_t sums[TILE];
    int32_t limits[2] = {SUM_LIMIT, SUM_LIMIT};
    uint32_t allowed[2] = {0};
    for (int64_t j = 0; j < blocks; j++) {
        limits[j] = least_sum(scanner, n, block + j);
        allowed[j] = filtered ? rs_allowed_items(batch->index, query, block + j) : UINT32_MAX;
    }
    if (!(allowed[0] | allowed[1]))
        return;
    for (uint64_t lanes = multiply_items(tile, scanner->words + n, limits, sums); lanes; lanes &= lanes - 1) {
        int32_t lane = __builtin_ctzll(lanes), item = item_at(lane);
        float product = product_of_sum(batch, n, block + item / BLOCK, ALL_DIMENSIONS, sums[lane]);
        float error = rounding_error(batch, n, block + item / BLOCK);
        if (!(allowed[item / BLOCK] >> item % BLOCK & 1) || product + error < scanner->threshold[n])
            continue;
        if (!rs_add_candidate(scanner->candidates + n, (Candidate){product + error, block * BLOCK + item}))
            atomic_store(&batch->out_of_memory, true);
        if (product - error > scanner->threshold[n]) /* a lower one can't raise the threshold */
            raise_threshold(scanner, n, rs_push_lower_bound(scanner->candidates + n, query->k, product - error));
    }
}

/* Brings this thread's thresholds and the batch's to the higher of both. Relaxed order does: a threshold that is seen late is
 * lower than it might be, so it costs time, and no answer; and nothing else is read by way of it. */
static void share_thresholds(Scanner *scanner)
{
    for (int32_t n = 0; n < scanner->batch->count; n++) {
        _Atomic float *shared = scanner->batch->threshold + n;
        float threshold = atomic_load_explicit(shared, memory_order_relaxed);
        while (threshold < scanner->threshold[n])
            if (atomic_compare_exchange_weak(shared, &threshold, scanner->threshold[n]))
                threshold = scanner->threshold[n];
        scanner->threshold[n] = threshold;
    }
}

/* Visits a tile whose maxima are known to the given depth: collects the candidates of the queries that it survives for, after
 * multiplying it in all dimensions if only its head was. Returns how many queries it survived for at the given depth. */
static int32_t visit_tile(Scanner *scanner, const Span *span, int64_t number, Depth depth, int32_t (*maxima)[MAXIMA_STRIDE])
{
    const Batch *batch = scanner->batch;
    int32_t survivors[MAX_BATCH], residual_norms[MAX_BATCH];
    const int32_t *words[MAX_BATCH];
    int64_t block = span->piece_block + number * TILE_BLOCKS, blocks = blocks_in_tile(span, number);
    bool unpadded = (block + blocks) * BLOCK <= batch->index->item_count;
    Tile tile = full_tile_at(batch->index, span, number);
    int32_t count = 0;
    if (batch->count > FEW_QUERIES)
        count = find_survivors(scanner, block, blocks, maxima, depth, survivors);
    else
        for (int32_t n = 0; n < batch->count; n++)
            if (survives(scanner, n, block, blocks, depth, &maxima[0][n]))
                survivors[count++] = n;
    if (depth == HEAD_ONLY && count) {
        for (int32_t i = 0; i < count; i++)
            words[i] = scanner->words[survivors[i]];
        multiply(tile, words, residual_norms, count, maxima[0]); /* a full tile: residual_norms aren't read */
    }
    for (int32_t i = 0; i < count; i++)
        if (depth == ALL_DIMENSIONS || survives(scanner, survivors[i], block, blocks, ALL_DIMENSIONS, &maxima[0][i]))
            collect_candidates(scanner, survivors[i], tile, block, blocks, !unpadded || scanner->filtered[survivors[i]]);
    return count;
}

/* `prefetch` says why these are always inlined. */
ALWAYS_INLINE void prefetch_head(const Scanner *scanner, const Span *span, int64_t number)
{
    if (number >= span->end_tile)
        return;
    Tile tile = head_tile_at(scanner->batch->index, span, number);
    prefetch(tile.head, (int64_t)tile.head_quads * QUAD * TILE);
    prefetch(tile.residual_norms, TILE * (int64_t)sizeof *tile.residual_norms);
}

ALWAYS_INLINE void prefetch_tail(const Scanner *scanner, const Span *span, int64_t number)
{
    Tile tile = full_tile_at(scanner->batch->index, span, number);
    prefetch(tile.tail, (int64_t)(tile.quads - tile.head_quads) * QUAD * TILE);
}

/* Returns how many queries the tile survived for at the given depth. */
static int32_t scan_tile(Scanner *scanner, const Span *span, int64_t number, Depth depth)
{
    const Batch *batch = scanner->batch;
    int32_t maxima[TILE_BLOCKS][MAXIMA_STRIDE];
    Tile tile = depth == HEAD_ONLY ? head_tile_at(batch->index, span, number) : full_tile_at(batch->index, span, number);
    multiply(tile, scanner->words, batch->residual_norm, batch->count, maxima[0]);
    return visit_tile(scanner, span, number, depth, maxima);
}

/* Raises a query's threshold by the maxima of a span's blocks: k blocks are k different items. Blocks with padding don't count,
 * since their maximum may be a padding zero's; nor may the query be filtered, since it may be the maximum of an item that isn't
 * allowed. */
static void raise_by_maxima(Scanner *scanner, int32_t n, const Span *span, int32_t (*maxima)[TILE_BLOCKS][MAXIMA_STRIDE])
{
    Batch *batch = scanner->batch;
    CandidateList *list = scanner->candidates + n;
    float threshold = -INFINITY;
    for (int64_t tile = span->first_tile; tile < span->end_tile; tile++)
        for (int64_t j = 0; j < blocks_in_tile(span, tile); j++) {
            int64_t block = span->piece_block + tile * TILE_BLOCKS + j;
            float product = product_of_sum(batch, n, block, ALL_DIMENSIONS, maxima[tile - span->first_tile][j][n]);
            float lower_bound = product - rounding_error(batch, n, block);
            if (lower_bound > threshold && (block + 1) * BLOCK <= batch->index->item_count)
                threshold = rs_push_lower_bound(list, batch->queries[n].k, lower_bound);
        }
    list->lower_bound_count = 0; /* the same items are pushed again, one by one, when the tiles are visited */
    raise_threshold(scanner, n, threshold);
}

/* Scans a thread's first span, of which no threshold is known yet, in two passes: the first raises thresholds, so that the
 * second doesn't take every item that happens to come early for a candidate. */
static void scan_first_span(Scanner *scanner, const Span *span)
{
    const Batch *batch = scanner->batch;
    int32_t maxima[SPAN_TILES][TILE_BLOCKS][MAXIMA_STRIDE];
    for (int64_t i = span->first_tile; i < span->end_tile; i++) {
        Tile tile = full_tile_at(batch->index, span, i);
        multiply(tile, scanner->words, batch->residual_norm, batch->count, maxima[i - span->first_tile][0]);
    }
    for (int32_t n = 0; n < batch->count; n++)
        if (!scanner->filtered[n])
            raise_by_maxima(scanner, n, span, maxima);
    for (int64_t i = span->first_tile; i < span->end_tile; i++)
        visit_tile(scanner, span, i, ALL_DIMENSIONS, maxima[i - span->first_tile]);
}

/* Scans a span: `full_tiles` tiles in all dimensions, the others head first. Returns how many tiles of the next spans are to go
 * without a head: where most tiles survive theirs, multiplying it first is wasted. */
static int64_t scan_span(Scanner *scanner, const Span *span, int64_t full_tiles)
{
    bool survived = false; /* the tile before; of many queries one needs the next tail as well, nearly always */
    for (int64_t tile = span->first_tile; tile < span->end_tile;) {
        Depth depth = full_tiles == 0 ? HEAD_ONLY : ALL_DIMENSIONS;
        int64_t end = smaller(span->end_tile, tile + (depth == HEAD_ONLY ? PROBE_TILES : full_tiles));
        int64_t count = end - tile, survivors = 0;
        for (; tile < end; tile++) {
            if (scanner->prefetch_heads)
                prefetch_head(scanner, span, tile + PREFETCH_TILES);
            if (scanner->prefetch_tails && survived && depth == HEAD_ONLY)
                prefetch_tail(scanner, span, tile);
            int32_t tile_survivors = scan_tile(scanner, span, tile, depth);
            survived = tile_survivors > 0;
            survivors += tile_survivors;
        }
        if (depth == ALL_DIMENSIONS)
            full_tiles -= count;
        else if (survivors * SURVIVOR_SHARE > count * scanner->batch->count)
            full_tiles = FULL_TILES;
    }
    return full_tiles;
}

/* Scans the spans that no thread has taken yet, beside the other threads, until there are none. */
void rs_scan(Batch *batch, int32_t thread)
{
    const rs_index *index = batch->index;
    Scanner scanner = {.batch = batch, .candidates = batch->candidates + (int64_t)thread * batch->count};
    for (int32_t n = 0; n < batch->count; n++) {
        scanner.words[n] = batch->words[n];
        scanner.threshold[n] = batch->norm[n] > 0 ? -INFINITY : INFINITY; /* a query of zeros has no use for candidates */
        scanner.filtered[n] = batch->queries[n].mask || batch->queries[n].excluded_count;
    }
    scanner.prefetch_heads = index->item_count * index->head_dim > CACHED_BYTES;
    scanner.prefetch_tails = index->item_count * index->dim > CACHED_BYTES && batch->count > FEW_QUERIES;
    bool first = true;
    int64_t full_tiles = 0;
    for (;;) {
        int64_t number = atomic_fetch_add(&batch->next_span, 1);
        if (number >= batch->span_count)
            return;
        Span span = span_at(index, number);
        share_thresholds(&scanner);
        if (first)
            scan_first_span(&scanner, &span);
        else /* without tails, every tile goes without a head first */
            full_tiles = scan_span(&scanner, &span, index->head_dim < index->dim ? full_tiles : SPAN_TILES);
        first = false;
        share_thresholds(&scanner);
        atomic_fetch_add(&batch->spans_done, 1);
    }
}
