/* The end of a search: a query's candidates are rescored in the order of their bounds, until no other can be one of the k best. */
#include "batch.h"
#include "simd.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum {
    PARTIAL_SUMS = 16,        /* of a product, side by side */
    PREFETCH_CANDIDATES = 8,  /* rows are fetched so many candidates early */
    INSERTION_SORT_MOST = 48, /* candidates that are sorted without a call of a function for each comparison */
};

/* Whether `a` comes after `b`: by product, then by row, so that the order of hits is total and no thread's luck decides ties. */
static bool ranks_after(Hit a, Hit b)
{
    return a.product < b.product || (a.product == b.product && a.row > b.row);
}

/* Puts a hit in the top's place, in a heap with the worst on top. */
static void replace_top(Hit *heap, int64_t count, Hit hit)
{
    int64_t slot = 0;
    for (int64_t child = 1; child < count; child = 2 * slot + 1) {
        child += child + 1 < count && ranks_after(heap[child + 1], heap[child]);
        if (!ranks_after(heap[child], hit))
            break;
        heap[slot] = heap[child];
        slot = child;
    }
    heap[slot] = hit;
}

static void push_hit(TopK *top, int64_t k, Hit hit)
{
    Hit *heap = top->heap;
    if (top->count < k) {
        int64_t slot = top->count++;
        for (; slot && ranks_after(hit, heap[(slot - 1) / 2]); slot = (slot - 1) / 2)
            heap[slot] = heap[(slot - 1) / 2];
        heap[slot] = hit;
    } else if (ranks_after(heap[0], hit))
        replace_top(heap, k, hit);
}

/* Turns the heap into an array, best first. */
static void sort_hits(TopK *top)
{
    for (int64_t last = top->count - 1; last > 0; last--) {
        Hit worst = top->heap[0], moved = top->heap[last];
        replace_top(top->heap, last, moved);
        top->heap[last] = worst;
    }
}

/* The dot product, in one fixed order of additions (-ffp-contract=off keeps compilers to it): a row's product has the same bits
 * in every batch, thread and library. */
static float dot_product(const float *a, const float *b, int32_t dim)
{
    float sums[PARTIAL_SUMS] = {0};
    int32_t i = 0;
    for (; i + PARTIAL_SUMS <= dim; i += PARTIAL_SUMS)
        for (int32_t j = 0; j < PARTIAL_SUMS; j++)
            sums[j] += a[i + j] * b[i + j];
    for (int32_t j = 0; i + j < dim; j++)
        sums[j] += a[i + j] * b[i + j];
    for (int32_t j = 0; j < PARTIAL_SUMS / 2; j++)
        sums[j] += sums[j + PARTIAL_SUMS / 2];
    for (int32_t j = 0; j < PARTIAL_SUMS / 4; j++)
        sums[j] += sums[j + PARTIAL_SUMS / 4];
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

static int compare_candidates(const void *a, const void *b)
{
    const Candidate *left = a, *right = b;
    if (left->bound != right->bound)
        return left->bound < right->bound ? 1 : -1;
    return left->row < right->row ? -1 : 1;
}

/* Sorts by descending bound. */
static void sort_candidates(Candidate *candidates, int64_t count)
{
    if (count > INSERTION_SORT_MOST) {
        qsort(candidates, (size_t)count, sizeof *candidates, compare_candidates);
        return;
    }
    for (int64_t i = 1; i < count; i++) {
        Candidate candidate = candidates[i];
        int64_t slot = i;
        for (; slot && compare_candidates(candidates + slot - 1, &candidate) > 0; slot--)
            candidates[slot] = candidates[slot - 1];
        candidates[slot] = candidate;
    }
}

/* A candidate's bound in the items' own units. The product of bound and unit may underflow, and a bound must not be rounded
 * down: hence the smallest number on top. Zero is exact as it is; with anything on top, every item of zeros would have to be
 * rescored. */
static float product_bound(float bound, float unit)
{
    return bound == 0 ? 0 : bound * unit + FLT_TRUE_MIN;
}

ALWAYS_INLINE void prefetch_row(const rs_index *index, int64_t row)
{
    prefetch(index->rows + row * index->dim, index->dim * (int64_t)sizeof *index->rows);
}

/* Drops the candidates that the threshold has overtaken since they were added. Returns how many there are still. */
static int64_t drop_below(Candidate *candidates, int64_t count, float threshold)
{
    int64_t remaining = 0;
    for (int64_t i = 0; i < count; i++) {
        candidates[remaining] = candidates[i];
        remaining += candidates[i].bound >= threshold;
    }
    return remaining;
}

static void rescore_candidates(const Batch *batch, int32_t n)
{
    const rs_index *index = batch->index;
    const float *vector = batch->vectors + (int64_t)n * index->dim;
    Candidate *candidates = batch->candidates[n].entries;
    TopK *top = batch->top + n;
    int64_t k = batch->queries[n].k;
    float threshold = atomic_load_explicit(&batch->threshold[n], memory_order_relaxed);
    int64_t count = drop_below(candidates, batch->candidates[n].count, threshold);
    sort_candidates(candidates, count);
    for (int64_t i = 0; i < count && i < PREFETCH_CANDIDATES; i++)
        prefetch_row(index, candidates[i].row);
    for (int64_t i = 0; i < count; i++) {
        int64_t row = candidates[i].row;
        Hit best_case = {product_bound(candidates[i].bound, batch->unit[n]), row};
        if (i + PREFETCH_CANDIDATES < count)
            prefetch_row(index, candidates[i + PREFETCH_CANDIDATES].row);
        /* Not the end yet: bounds that differ in the query's units may be equal as products (all are where the unit is so small
         * that they underflow). Then the row decides, and a later candidate may have a lower one. */
        if (top->count == k && ranks_after(best_case, top->heap[0]))
            continue;
        Hit hit = {dot_product(vector, index->rows + row * index->dim, index->dim), row};
        top->rescored++;
        if (top->count < k || ranks_after(top->heap[0], hit))
            push_hit(top, k, hit);
    }
}

/* The hits of a query of zeros, whose products are all zero: the first rows that are allowed. */
static void push_first_allowed(const rs_index *index, const rs_query *query, TopK *top)
{
    for (int64_t block = 0; block * BLOCK < index->item_count && top->count < query->k; block++)
        for (uint32_t bits = rs_allowed_items(index, query, block); bits && top->count < query->k; bits &= bits - 1)
            push_hit(top, query->k, (Hit){0, block * BLOCK + __builtin_ctz(bits)});
}

/* Adds one thread's lower bounds and candidates to another's. Returns false for want of memory. */
static bool merge_candidates(Batch *batch, int32_t n, CandidateList *into, const CandidateList *from)
{
    float threshold = -INFINITY;
    for (int64_t i = 0; i < from->lower_bound_count; i++)
        threshold = rs_push_lower_bound(into, batch->queries[n].k, from->lower_bounds[i]);
    /* One thread ranks a query, and all scans are over: nobody else writes this threshold now. */
    if (threshold > atomic_load_explicit(&batch->threshold[n], memory_order_relaxed))
        atomic_store_explicit(&batch->threshold[n], threshold, memory_order_relaxed);
    for (int64_t i = 0; i < from->count; i++)
        if (!rs_add_candidate(into, from->entries[i]))
            return false;
    return true;
}

/* Writes one query's hits and counts, from the candidates of all threads. Call it once for each query, when all spans are
 * scanned. */
void rs_rank_query(Batch *batch, int32_t n)
{
    TopK *top = batch->top + n;
    for (int32_t thread = 1; thread < batch->threads; thread++)
        if (!merge_candidates(batch, n, batch->candidates + n, batch->candidates + n + (int64_t)thread * batch->count))
            atomic_store(&batch->out_of_memory, true);
    if (batch->norm[n] > 0)
        rescore_candidates(batch, n);
    else
        push_first_allowed(batch->index, batch->queries + n, top);
    sort_hits(top);
    for (int64_t i = 0; i < top->count; i++) {
        batch->rows[n][i] = top->heap[i].row;
        batch->products[n][i] = top->heap[i].product;
    }
    batch->counts[n] = (rs_counts){top->count, top->rescored};
}
