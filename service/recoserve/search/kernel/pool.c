/* Threads that search together with the one that calls: woken once for each batch, asleep in between. */
#include "batch.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { SPINS_BEFORE_YIELD = 1000 }; /* looks at what another thread is about to finish, before the processor is offered to others */

struct rs_pool {
    pthread_mutex_t caller_lock; /* held by the caller whose batch the workers search */
    pthread_mutex_t lock;        /* over everything below, except `workers` and `threads`, which are set once */
    pthread_cond_t woken;
    pthread_t *workers;
    Batch *batch;                /* NULL: no worker may begin */
    int64_t generation;          /* counts batches, so that a worker takes each once */
    int32_t threads, active;     /* the calling thread included; workers inside the batch */
    bool closed;
};

typedef struct {
    rs_pool *pool;
    int32_t number;
} Worker;

static void spin(int32_t *spins)
{
    if (++*spins > SPINS_BEFORE_YIELD)
        sched_yield();
}

/* One thread's share of a batch: spans until there are none, then queries until there are none. */
static void run_thread(Batch *batch, int32_t thread)
{
    int32_t spins = 0;
    rs_scan(batch, thread);
    /* Ranking reads every thread's candidates. `spans_done` is raised after they were written, and read here, in sequentially
     * consistent order, so that they are visible when the last span is done. */
    while (atomic_load(&batch->spans_done) < batch->span_count)
        spin(&spins);
    for (;;) {
        int64_t n = atomic_fetch_add(&batch->next_query, 1);
        if (n >= batch->count)
            return;
        rs_rank_query(batch, (int32_t)n);
    }
}

static void *worker_main(void *argument)
{
    Worker worker = *(Worker *)argument;
    rs_pool *pool = worker.pool;
    int64_t generation = 0;
    free(argument);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->closed && (!pool->batch || pool->generation == generation))
            pthread_cond_wait(&pool->woken, &pool->lock);
        if (pool->closed)
            break;
        generation = pool->generation;
        Batch *batch = pool->batch;
        pool->active++;
        pthread_mutex_unlock(&pool->lock);
        run_thread(batch, worker.number);
        pthread_mutex_lock(&pool->lock);
        pool->active--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void rs_pool_close(rs_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    pthread_cond_broadcast(&pool->woken);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i], NULL);
    pthread_mutex_destroy(&pool->caller_lock);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->woken);
    free(pool->workers);
    free(pool);
}

rs_pool *rs_pool_open(int32_t threads)
{
    rs_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->threads = 1;
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    pthread_mutex_init(&pool->caller_lock, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->woken, NULL);
    while (pool->workers && pool->threads < threads) {
        Worker *worker = malloc(sizeof *worker);
        if (!worker)
            break;
        *worker = (Worker){pool, pool->threads};
        if (pthread_create(&pool->workers[pool->threads], NULL, worker_main, worker)) {
            free(worker);
            break;
        }
        pool->threads++;
    }
    return pool;
}

int32_t rs_pool_threads(const rs_pool *pool)
{
    return pool->threads;
}

static void wake_workers(rs_pool *pool, Batch *batch)
{
    pthread_mutex_lock(&pool->lock);
    pool->batch = batch;
    pool->generation++;
    pthread_cond_broadcast(&pool->woken);
    pthread_mutex_unlock(&pool->lock);
}

/* Lets no further worker begin, and waits for those inside: the batch is freed next. A worker that wakes up too late finds no
 * batch. */
static void retire_batch(rs_pool *pool)
{
    int32_t spins = 0;
    pthread_mutex_lock(&pool->lock);
    pool->batch = NULL;
    while (pool->active) {
        pthread_mutex_unlock(&pool->lock);
        spin(&spins);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Returns when every query of the batch has its hits and no worker uses the batch any more. While the workers are busy with another
 * caller's batch, the calling thread doesn't wait for them but searches alone. */
void rs_pool_run(rs_pool *pool, Batch *batch)
{
    bool together = pool->threads > 1 && !pthread_mutex_trylock(&pool->caller_lock);
    if (together)
        wake_workers(pool, batch);
    run_thread(batch, 0);
    if (together) {
        retire_batch(pool);
        pthread_mutex_unlock(&pool->caller_lock);
    }
}
