/* What Python calls: groups of queries, rounded, searched by all threads, answered. */
#include "kernel.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const float SMALLEST = 1e-30f; /* of what a query's steps are made from */

static float up(double value)
{
    return value > 0 ? nextafterf((float)value, INFINITY) : 0;
}

/* The query turned as the int8 copy is, and rounded. */
static void round_query(Job *job, int32_t n)
{
    const Table *table = job->table;
    const float *vector = job->queries[n].vector;
    float turned[MOST_DIM] = {0}, peak = SMALLEST;
    double length = 0, lost = 0;
    int64_t rest = 0;
    for (int32_t i = 0; i < table->dim; i++) {
        length += (double)vector[i] * vector[i];
        for (int32_t j = 0; j < table->dim; j++)
            turned[j] += vector[i] * table->rotation[(int64_t)i * table->dim + j];
    }
    for (int32_t i = 0; i < table->dim; i++)
        peak = fabsf(turned[i]) > peak ? fabsf(turned[i]) : peak;
    float unit = peak / (float)levels;
    int8_t *bytes = memset(job->words[n], 0, sizeof job->words[n]);
    for (int32_t i = 0; i < table->dim; i++) {
        float whole = fminf(fmaxf(rintf(turned[i] / unit), (float)-levels), (float)levels);
        double off = (double)turned[i] - (double)whole * unit;
        lost += off * off;
        bytes[i] = (int8_t)whole;
        job->offset[1][n] += 128 * bytes[i];
        if (i < table->head)
            job->offset[0][n] += 128 * bytes[i];
        else
            rest += bytes[i] * bytes[i];
    }
    job->unit[n] = unit;
    job->length[n] = up(sqrt(length) / unit);
    job->lost[n] = up(sqrt(lost) / unit);
    job->rest[n] = (int32_t)ceil(sqrt((double)rest));
}

/* Room for what every thread may find: each query's lower bounds, one behind the other; and for the answers. Returns NULL for want of
 * memory. */
static void *found_room(Job *job)
{
    int64_t items = 0, founds = (int64_t)job->threads * job->count;
    for (int32_t n = 0; n < job->count; n++)
        items += job->queries[n].wanted.k;
    size_t found = (size_t)founds * sizeof(Found), best = (size_t)items * sizeof(Item);
    char *room = calloc(1, found + best + (size_t)(job->threads * items) * sizeof(float));
    if (!room)
        return NULL;
    job->found = (Found *)room;
    Item *item = (Item *)(room + found);
    float *lower = (float *)(room + found + best);
    for (int64_t i = 0; i < founds; i++) {
        int64_t k = job->queries[i % job->count].wanted.k;
        job->found[i].lower = lower;
        lower += k;
        if (i < job->count) {
            job->found[i].best = item;
            item += k;
        }
    }
    return room;
}

static bool answer_group(Job *job, Pool *pool)
{
    job->threads = pool_threads(pool);
    job->spans = spans_of(job->table);
    for (int32_t n = 0; n < job->count; n++) {
        round_query(job, n);
        atomic_init(&job->reached[n], -INFINITY);
    }
    void *room = found_room(job);
    if (!room)
        return false;
    pool_run(pool, job);
    for (int32_t i = 0; i < job->threads * job->count; i++)
        free(job->found[i].waiting);
    free(room);
    return !atomic_load(&job->failed);
}

/* Answers every query as if it were alone: `vectors` [count, dim]; `rows` and `products` have room for all their k, one behind the
 * other. Returns false for want of memory. */
bool search(const Table *table, Pool *pool, const float *vectors, const Wanted *wanted, int64_t count, int64_t *rows,
            float *products, Counts *counts)
{
    Job *job = malloc(sizeof *job);
    bool done = job != NULL;
    for (int64_t at = 0; done && at < count; at += MOST_QUERIES) {
        memset(job, 0, offsetof(Job, words));
        job->table = table;
        job->count = (int32_t)(count - at < MOST_QUERIES ? count - at : MOST_QUERIES);
        for (int32_t n = 0; n < job->count; n++) {
            job->queries[n] = (Query){wanted[at + n], vectors + (at + n) * table->dim, rows, products, counts + at + n};
            rows += wanted[at + n].k;
            products += wanted[at + n].k;
        }
        done = answer_group(job, pool);
    }
    free(job);
    return done;
}
