/* A small threaded service that logs its own allocations.
 *
 * What it does: CLIENTS threads make requests of buffers and put them into a queue; WORKERS threads
 * take them out, build an answer that grows by realloc, keep some sessions for a while, and put the
 * answer into a second queue, from which the main thread takes it and frees it. Buffers are so
 * allocated by one thread and freed by another in both directions. Workers end after a number of
 * requests and are started anew; the load comes in bursts with pauses between.
 *
 * What it writes: one line a call in the text that Android's malloc_debug records, with times, to
 * the file that is named on the command line. Thread identifiers count from 1, the main thread's.
 *
 * How the order is kept right: one lock orders the lines. A release (free, realloc) takes its
 * place before the call, an allocation after it; a realloc is both and is called under the lock.
 * Lines are kept in memory and written at the end, so that writing does not slow what is logged.
 *
 * The allocations are drawn from seeded generators, one a thread; their interleaving and times are
 * the machine's.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
    CLIENTS = 2,
    WORKERS = 5,
    QUEUE_SLOTS = 64,
    BURSTS = 12,
    REQUESTS_PER_BURST = 160,
    REQUESTS_PER_WORKER_LIFE = 95,
    SESSIONS = 300,
    PARTS_MOST = 24,
};

/* ---- the log ---------------------------------------------------------------------------------- */

enum op { OP_MALLOC, OP_CALLOC, OP_MEMALIGN, OP_REALLOC, OP_FREE, OP_THREAD_DONE };

struct line {
    uint64_t start_ns, end_ns;
    uint64_t pointer, first, second;
    uint32_t thread;
    uint32_t op;
};

enum { LINES_MOST = 1 << 20 };

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct line *lines; /* on its own mapping: the log must not be in the heap that it describes */
static size_t line_count;
static atomic_uint thread_count;
static _Thread_local uint32_t thread_id;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Appends a line; the caller holds the lock. */
static struct line *append(enum op op, const void *pointer, uint64_t first, uint64_t second) {
    if (line_count == LINES_MOST) {
        fprintf(stderr, "threaded: more than %d calls\n", LINES_MOST);
        exit(1);
    }
    struct line *line = &lines[line_count++];
    *line = (struct line){.pointer = (uintptr_t)pointer, .first = first, .second = second,
                          .thread = thread_id, .op = op};
    return line;
}

static void *log_allocation(void *result, enum op op, uint64_t first, uint64_t second, uint64_t start_ns) {
    uint64_t end_ns = now_ns();
    if (result == NULL)
        die("threaded: out of memory");
    pthread_mutex_lock(&log_lock);
    struct line *line = append(op, result, first, second);
    line->start_ns = start_ns;
    line->end_ns = end_ns;
    pthread_mutex_unlock(&log_lock);
    return result;
}

static void *logged_malloc(size_t size) {
    uint64_t start_ns = now_ns();
    return log_allocation(malloc(size), OP_MALLOC, size, 0, start_ns);
}

static void *logged_calloc(size_t count, size_t size) {
    uint64_t start_ns = now_ns();
    return log_allocation(calloc(count, size), OP_CALLOC, count, size, start_ns);
}

static void *logged_aligned_alloc(size_t alignment, size_t size) {
    uint64_t start_ns = now_ns();
    return log_allocation(aligned_alloc(alignment, size), OP_MEMALIGN, alignment, size, start_ns);
}

static void *logged_realloc(void *old, size_t size) {
    pthread_mutex_lock(&log_lock);
    struct line *line = append(OP_REALLOC, NULL, (uintptr_t)old, size);
    line->start_ns = now_ns();
    void *result = realloc(old, size);
    line->end_ns = now_ns();
    if (result == NULL)
        die("threaded: out of memory");
    line->pointer = (uintptr_t)result;
    pthread_mutex_unlock(&log_lock);
    return result;
}

static void logged_free(void *pointer) {
    pthread_mutex_lock(&log_lock);
    struct line *line = append(OP_FREE, pointer, 0, 0);
    line->start_ns = now_ns();
    pthread_mutex_unlock(&log_lock);
    free(pointer);
    line->end_ns = now_ns(); /* the line is this call's own; it is read after all threads have ended */
}

static void log_thread_end(void) {
    pthread_mutex_lock(&log_lock);
    append(OP_THREAD_DONE, NULL, 0, 0)->end_ns = now_ns();
    pthread_mutex_unlock(&log_lock);
}

static void write_log(const char *path) {
    FILE *out = fopen(path, "w");
    if (out == NULL)
        die(path);
    for (size_t at = 0; at < line_count; at++) {
        const struct line *line = &lines[at];
        unsigned long pointer = line->pointer, first = line->first, second = line->second;
        fprintf(out, "%u: ", line->thread);
        switch ((enum op)line->op) {
        case OP_MALLOC: fprintf(out, "malloc %#lx %lu", pointer, first); break;
        case OP_CALLOC: fprintf(out, "calloc %#lx %lu %lu", pointer, first, second); break;
        case OP_MEMALIGN: fprintf(out, "memalign %#lx %lu %lu", pointer, first, second); break;
        case OP_REALLOC: fprintf(out, "realloc %#lx 0x%lx %lu", pointer, first, second); break;
        case OP_FREE: fprintf(out, "free 0x%lx", pointer); break;
        case OP_THREAD_DONE: fprintf(out, "thread_done 0x0"); break;
        }
        if (line->op != OP_THREAD_DONE)
            fprintf(out, " %lu", (unsigned long)line->start_ns);
        fprintf(out, " %lu\n", (unsigned long)line->end_ns);
    }
    if (fclose(out) != 0)
        die(path);
}

/* ---- chance ----------------------------------------------------------------------------------- */

static _Thread_local uint64_t chance_state;

static uint64_t chance(void) { /* splitmix64 */
    uint64_t word = chance_state += 0x9e3779b97f4a7c15u;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
    word = (word ^ word >> 27) * 0x94d049bb133111ebu;
    return word ^ word >> 31;
}

static double chance_unit(void) { return ((double)(chance() >> 11) + 0.5) / 9007199254740992.0; }

/* A size from 16 bytes to 200 KB, lognormal about `median`. */
static size_t chance_size(double median, double sigma) {
    double normal = sqrt(-2.0 * log(chance_unit())) * cos(2.0 * M_PI * chance_unit());
    double size = median * exp(sigma * normal);
    return size < 16.0 ? 16 : size > 200000.0 ? 200000 : (size_t)size;
}

/* ---- queues ----------------------------------------------------------------------------------- */

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void *slots[QUEUE_SLOTS];
    unsigned head, count;
};

static void queue_put(struct queue *queue, void *item) {
    pthread_mutex_lock(&queue->lock);
    while (queue->count == QUEUE_SLOTS)
        pthread_cond_wait(&queue->changed, &queue->lock);
    queue->slots[(queue->head + queue->count++) % QUEUE_SLOTS] = item;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

static void *queue_take(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0)
        pthread_cond_wait(&queue->changed, &queue->lock);
    void *item = queue->slots[queue->head];
    queue->head = (queue->head + 1) % QUEUE_SLOTS;
    queue->count--;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return item;
}

/* ---- the service ------------------------------------------------------------------------------ */

struct request {
    char *body;
    size_t body_size;
    unsigned part_count;
    char *parts[PARTS_MOST];
};

struct answer {
    char *text;
    struct request *request; /* the main thread frees it, whoever made it */
};

static struct queue requests = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0, 0};
static struct queue answers = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0, 0};
static pthread_mutex_t session_lock = PTHREAD_MUTEX_INITIALIZER;
static void *sessions[SESSIONS];

static void begin_thread(uint64_t seed) {
    thread_id = 1 + atomic_fetch_add(&thread_count, 1);
    chance_state = seed * 0x2545f4914f6cdd1du;
}

static void sleep_ms(long ms) {
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static struct request *make_request(void) {
    struct request *request = logged_calloc(1, sizeof *request);
    request->body_size = chance_size(3000, 1.3);
    request->body = logged_malloc(request->body_size);
    memset(request->body, 'q', request->body_size);
    request->part_count = 1 + chance() % 8;
    for (unsigned part = 0; part < request->part_count; part++)
        request->parts[part] = logged_malloc(chance_size(90, 0.9));
    return request;
}

static void *run_client(void *seed) {
    begin_thread((uintptr_t)seed);
    for (int burst = 0; burst < BURSTS; burst++) {
        for (int request = 0; request < REQUESTS_PER_BURST; request++)
            queue_put(&requests, make_request());
        sleep_ms(150 + (long)(chance() % 150));
    }
    log_thread_end();
    return NULL;
}

/* Replaces a session now and then, so that some objects live long and lie between short ones. */
static void touch_session(void) {
    pthread_mutex_lock(&session_lock);
    unsigned at = chance() % SESSIONS;
    if (chance() % 3 == 0) {
        logged_free(sessions[at]);
        sessions[at] = logged_malloc(chance_size(20000, 1.0));
    }
    pthread_mutex_unlock(&session_lock);
}

static struct answer *make_answer(struct request *request) {
    struct answer *answer = logged_malloc(sizeof *answer);
    size_t wanted = request->body_size + chance_size(2000, 1.0), held = 256;
    answer->text = logged_realloc(NULL, held);
    while (held < wanted) {
        held *= 2;
        answer->text = logged_realloc(answer->text, held);
    }
    memset(answer->text, 'a', held);
    answer->text = logged_realloc(answer->text, wanted);
    answer->request = request;
    return answer;
}

static void serve(struct request *request) {
    char *scratch = logged_aligned_alloc(64, (chance_size(1500, 0.8) + 63) / 64 * 64);
    scratch[0] = 's';
    void *fields[12];
    unsigned field_count = 2 + chance() % 10;
    for (unsigned field = 0; field < field_count; field++)
        fields[field] = logged_malloc(chance_size(60, 0.7));
    struct answer *answer = make_answer(request);
    while (field_count > 0)
        logged_free(fields[--field_count]);
    logged_free(scratch);
    touch_session();
    queue_put(&answers, answer);
}

/* Ends at an empty item, or when its life is over; then it says so with an empty answer. */
static void *run_worker(void *seed) {
    begin_thread((uintptr_t)seed);
    void *cache = logged_calloc(16, 512);
    for (int served = 0; served < REQUESTS_PER_WORKER_LIFE; served++) {
        struct request *request = queue_take(&requests);
        if (request == NULL)
            break;
        serve(request);
    }
    logged_free(cache);
    log_thread_end();
    queue_put(&answers, NULL);
    return NULL;
}

static void drop_answer(struct answer *answer) {
    struct request *request = answer->request;
    for (unsigned part = 0; part < request->part_count; part++)
        logged_free(request->parts[part]);
    logged_free(request->body);
    logged_free(request);
    logged_free(answer->text);
    logged_free(answer);
    if (chance() % 64 == 0)
        logged_free(NULL);
}

static pthread_t start(void *(*run)(void *), uint64_t seed) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, (void *)(uintptr_t)seed) != 0)
        die("threaded: pthread_create");
    return thread;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: threaded LOG\n");
        return 2;
    }
    lines = mmap(NULL, sizeof(struct line) * LINES_MOST, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lines == MAP_FAILED)
        die("threaded: mmap");
    uint64_t seed = 1;
    begin_thread(seed++);
    for (int session = 0; session < SESSIONS; session++)
        sessions[session] = logged_malloc(chance_size(20000, 1.0));
    /* The main thread gives its workers no name to join them by: an empty answer counts one out. */
    pthread_t clients[CLIENTS];
    for (int client = 0; client < CLIENTS; client++)
        clients[client] = start(run_client, seed++);
    for (int worker = 0; worker < WORKERS; worker++)
        pthread_detach(start(run_worker, seed++));

    int left = CLIENTS * BURSTS * REQUESTS_PER_BURST, running = WORKERS;
    while (left > 0) {
        struct answer *answer = queue_take(&answers);
        if (answer == NULL) {
            pthread_detach(start(run_worker, seed++));
            continue;
        }
        drop_answer(answer);
        left--;
    }
    for (int client = 0; client < CLIENTS; client++)
        pthread_join(clients[client], NULL);
    for (int worker = 0; worker < WORKERS; worker++)
        queue_put(&requests, NULL);
    while (running > 0) {
        if (queue_take(&answers) == NULL)
            running--;
    }
    for (int session = 0; session < SESSIONS / 2; session++)
        logged_free(sessions[session]); /* the other half is live at the end, as in most processes */
    write_log(argv[1]);
    return 0;
}
