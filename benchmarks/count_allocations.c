/* Counts all requests of a process to the C library's allocator. Preloaded by allocations.py.
 *
 * Rust's default allocator and, with PYTHONMALLOC=malloc, CPython's use it, so a call that leaves
 * the count unchanged has allocated nothing. */
#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static unsigned long requests;

unsigned long allocation_requests(void) { return __atomic_load_n(&requests, __ATOMIC_RELAXED); }

static void count(void) { __atomic_fetch_add(&requests, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *block, size_t size) {
    count();
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    count();
    *block = __libc_memalign(alignment, size);
    return *block == NULL ? ENOMEM : 0;
}
