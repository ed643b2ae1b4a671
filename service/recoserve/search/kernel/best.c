/* The k best of a query: items that wait to be scored, in the order of their bounds, until no other can be one of the k. */
#include "kernel.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum {
    PARTS = 16, /* sums side by side */
    AHEAD = 8,  /* items that are fetched early */
    FEW = 48,   /* items that are sorted without a call for each comparison */
};

/* Lower bounds: a heap with its least on top. Returns what k items reach; minus infinity until there are so many. */
float offer_lower(Found *found, int64_t k, float product)
{
    float *heap = found->lower;
    int64_t at;
    if (found->lowers < k) {
        for (at = found->lowers++; at && heap[(at - 1) / 2] > product; at = (at - 1) / 2)
            heap[at] = heap[(at - 1) / 2];
        heap[at] = product;
    } else if (product > heap[0]) {
        at = 0;
        for (int64_t child = 1; child < k; child = 2 * at + 1) {
            child += child + 1 < k && heap[child + 1] < heap[child];
            if (heap[child] >= product)
                break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = product;
    }
    return found->lowers == k ? heap[0] : -INFINITY;
}

/* Returns false for want of memory. */
bool wait_for(Found *found, float bound, int64_t row)
{
    if (found->waits == found->room) {
        int64_t room = found->room ? 2 * found->room : 128;
        Candidate *more = realloc(found->waiting, (size_t)room * sizeof *more);
        if (!more)
            return false;
        found->waiting = more;
        found->room = room;
    }
    found->waiting[found->waits++] = (Candidate){bound, row};
    return true;
}

static bool worse(Item a, Item b)
{
    return a.product < b.product || (a.product == b.product && a.row > b.row);
}

/* A heap with its worst on top, where an item takes the top's place. */
static void sink(Item *heap, int64_t count, Item item)
{
    int64_t at = 0;
    for (int64_t child = 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && worse(heap[child + 1], heap[child]);
        if (!worse(heap[child], item))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

/* The k best so far. */
static void offer(Found *found, int64_t k, Item item)
{
    Item *heap = found->best;
    if (found->bests < k) {
        int64_t at = found->bests++;
        for (; at && worse(item, heap[(at - 1) / 2]); at = (at - 1) / 2)
            heap[at] = heap[(at - 1) / 2];
        heap[at] = item;
    } else if (worse(heap[0], item))
        sink(heap, k, item);
}

/* From a heap to the best first. */
static void put_in_order(Found *found)
{
    for (int64_t left = found->bests - 1; left > 0; left--) {
        Item worst = found->best[0], last = found->best[left];
        sink(found->best, left, last);
        found->best[left] = worst;
    }
}

/* Which items of a block may be in an answer: a bit each. */
uint32_t allowed_in(const Table *table, const Wanted *wanted, int64_t block)
{
    int64_t first = block * BLOCK, end = first + BLOCK, low = 0, high = wanted->excluded_count;
    uint32_t allowed = wanted->mask ? wanted->mask[block] : UINT32_MAX;
    if (end > table->items)
        allowed &= UINT32_MAX >> (end - table->items);
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (wanted->excluded[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < wanted->excluded_count && wanted->excluded[low] < end; low++)
        allowed &= ~(UINT32_C(1) << (wanted->excluded[low] - first));
    return allowed;
}

/* A product in a fixed order: the same bits wherever and beside whomever it is asked for. */
static float product_of(const float *a, const float *b, int32_t dim)
{
    float sums[PARTS] = {0};
    int32_t i = 0;
    for (; i + PARTS <= dim; i += PARTS)
        for (int32_t j = 0; j < PARTS; j++)
            sums[j] += a[i + j] * b[i + j];
    for (int32_t j = 0; i + j < dim; j++)
        sums[j] += a[i + j] * b[i + j];
    for (int32_t j = 0; j < PARTS / 2; j++)
        sums[j] += sums[j + PARTS / 2];
    for (int32_t j = 0; j < PARTS / 4; j++)
        sums[j] += sums[j + PARTS / 4];
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

static int by_bound(const void *a, const void *b)
{
    const Candidate *one = a, *two = b;
    if (one->bound != two->bound)
        return one->bound < two->bound ? 1 : -1;
    return one->row < two->row ? -1 : 1;
}

/* The best bounds first. */
static void sort(Candidate *waiting, int64_t count)
{
    if (count > FEW) {
        qsort(waiting, (size_t)count, sizeof *waiting, by_bound);
        return;
    }
    for (int64_t i = 1; i < count; i++) {
        Candidate one = waiting[i];
        int64_t at = i;
        for (; at && by_bound(waiting + at - 1, &one) > 0; at--)
            waiting[at] = waiting[at - 1];
        waiting[at] = one;
    }
}

/* A bound as a product: no less, where float32 has no digits left; of a query of zeros exactly zero. */
static float most_of(float bound, float unit)
{
    return bound == 0 ? 0 : bound * unit + FLT_TRUE_MIN;
}

static inline __attribute__((always_inline)) void fetch_item(const Table *table, int64_t row)
{
    fetch(table->rows + row * table->dim, table->dim * (int64_t)sizeof *table->rows);
}

/* Score what waits and reaches what is known to be reached, the best bounds first, but no item that can't be one of the k. Bounds
 * that differ may be equal in the query's units (where it is zero, all are); then rows decide, and a later item may have a lower one. */
static void settle(const Job *job, int32_t n, Found *found)
{
    const Table *table = job->table;
    const Query *query = job->queries + n;
    float reached = atomic_load_explicit(&job->reached[n], memory_order_relaxed);
    int64_t left = 0;
    for (int64_t i = 0; i < found->waits; i++) {
        found->waiting[left] = found->waiting[i];
        left += found->waiting[i].bound >= reached;
    }
    sort(found->waiting, left);
    for (int64_t i = 0; i < left && i < AHEAD; i++)
        fetch_item(table, found->waiting[i].row);
    for (int64_t i = 0; i < left; i++) {
        int64_t row = found->waiting[i].row;
        Item most = {most_of(found->waiting[i].bound, job->unit[n]), row};
        if (i + AHEAD < left)
            fetch_item(table, found->waiting[i + AHEAD].row);
        if (found->bests == query->wanted.k && worse(most, found->best[0]))
            continue;
        Item item = {product_of(query->vector, table->rows + row * table->dim, table->dim), row};
        found->scored++;
        if (found->bests < query->wanted.k || worse(found->best[0], item))
            offer(found, query->wanted.k, item);
    }
}

/* What a query of zeros, whose products are all zero, is answered: the first rows that may be in an answer. */
static void take_first(const Table *table, const Query *query, Found *found)
{
    for (int64_t block = 0; block * BLOCK < table->items && found->bests < query->wanted.k; block++)
        for (uint32_t left = allowed_in(table, &query->wanted, block); left && found->bests < query->wanted.k; left &= left - 1)
            offer(found, query->wanted.k, (Item){0, block * BLOCK + __builtin_ctz(left)});
}

/* Add what another thread has found. Returns false for want of memory. */
static bool merge(Job *job, int32_t n, Found *into, const Found *from)
{
    float reached = -INFINITY;
    for (int64_t i = 0; i < from->lowers; i++)
        reached = offer_lower(into, job->queries[n].wanted.k, from->lower[i]);
    if (reached > atomic_load_explicit(&job->reached[n], memory_order_relaxed))
        atomic_store_explicit(&job->reached[n], reached, memory_order_relaxed);
    for (int64_t i = 0; i < from->waits; i++)
        if (!wait_for(into, from->waiting[i].bound, from->waiting[i].row))
            return false;
    return true;
}

/* One query's answer, from what all threads have found. */
void answer(Job *job, int32_t n)
{
    Query *query = job->queries + n;
    Found *found = job->found + n;
    for (int32_t thread = 1; thread < job->threads; thread++)
        if (!merge(job, n, found, found + (int64_t)thread * job->count))
            atomic_store(&job->failed, true);
    if (job->length[n] > 0)
        settle(job, n, found);
    else
        take_first(job->table, query, found);
    put_in_order(found);
    for (int64_t i = 0; i < found->bests; i++) {
        query->rows[i] = found->best[i].row;
        query->products[i] = found->best[i].product;
    }
    *query->counts = (Counts){found->bests, found->scored};
}
