/* What a scan collects for a query: lower bounds, whose k-th largest is its threshold, and candidates for the rescoring. */
#include "batch.h"

#include <math.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 128 };

/* Adds a lower bound to the heap of the k largest. Returns the threshold that they come to: the least of k, minus infinity of
 * fewer. */
float rs_push_lower_bound(CandidateList *list, int64_t k, float lower_bound)
{
    float *heap = list->lower_bounds;
    int64_t slot;
    if (list->lower_bound_count < k) {
        for (slot = list->lower_bound_count++; slot && heap[(slot - 1) / 2] > lower_bound; slot = (slot - 1) / 2)
            heap[slot] = heap[(slot - 1) / 2];
        heap[slot] = lower_bound;
    } else if (lower_bound > heap[0]) {
        slot = 0;
        for (int64_t child = 1; child < k; child = 2 * slot + 1) {
            child += child + 1 < k && heap[child + 1] < heap[child];
            if (heap[child] >= lower_bound)
                break;
            heap[slot] = heap[child];
            slot = child;
        }
        heap[slot] = lower_bound;
    }
    return list->lower_bound_count == k ? heap[0] : -INFINITY;
}

/* Appends to the list. Returns false for want of memory. */
bool rs_add_candidate(CandidateList *list, Candidate candidate)
{
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : FIRST_CAPACITY;
        Candidate *entries = realloc(list->entries, (size_t)capacity * sizeof *entries);
        if (!entries)
            return false;
        list->entries = entries;
        list->capacity = capacity;
    }
    list->entries[list->count++] = candidate;
    return true;
}

/* Returns a bit for each item of a block: whether it exists, isn't excluded and is in the mask. */
uint32_t rs_allowed_items(const rs_index *index, const rs_query *query, int64_t block)
{
    int64_t first = block * BLOCK, end = first + BLOCK, low = 0, high = query->excluded_count;
    uint32_t allowed = query->mask ? query->mask[block] : UINT32_MAX;
    if (end > index->item_count)
        allowed &= UINT32_MAX >> (end - index->item_count);
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (query->excluded[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < query->excluded_count && query->excluded[low] < end; low++)
        allowed &= ~(UINT32_C(1) << (query->excluded[low] - first));
    return allowed;
}
