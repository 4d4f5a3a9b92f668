/* A preloaded library that makes file operations and thread creation of a process fail.
 *
 * fault_arm(which, after, error): after `after` calls of kind `which`, one call fails with `error`,
 * or kills the process if that is -1; with error 0, every call reads or writes less than requested.
 * Of threads, every creation after `after` others fails. fault_disarm() returns the number of calls. Counts are per process, so arm
 * only around the tested call. Environment variables: FAULT_THREADS is the maximum number of
 * threads; FAULT_RING disables io_uring; FAULT_UNLINK kills the process before it removes a file
 * whose name has that suffix. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE, PREAD, WRITE, FSYNC, THREAD };

static _Atomic int armed = NONE;
static _Atomic long left;
static _Atomic long calls;
static _Atomic int number;

void fault_arm(int which, long after, int error) {
    left = after;
    calls = 0;
    number = error;
    armed = which;
}

long fault_disarm(void) {
    armed = NONE;
    return calls;
}

/* Whether this call is to fail. */
static int fails(int which) {
    if (armed != which) return 0;
    calls++;
    if (number == 0 || left-- != 0) return 0;
    if (number == -1) kill(getpid(), SIGKILL);
    errno = number;
    return 1;
}

static size_t shortened(int which, size_t len) {
    return armed == which && number == 0 && len > 1 ? len / 2 + 1 : len;
}

ssize_t pread64(int fd, void *out, size_t len, off64_t offset) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (!real) real = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    return fails(PREAD) ? -1 : real(fd, out, shortened(PREAD, len), offset);
}

ssize_t write(int fd, const void *from, size_t len) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return fails(WRITE) ? -1 : real(fd, from, shortened(WRITE, len));
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(FSYNC) ? -1 : real(fd);
}

int unlink(const char *path) {
    static int (*real)(const char *);
    if (!real) real = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    const char *end = getenv("FAULT_UNLINK");
    size_t length = strlen(path), suffix = end ? strlen(end) : 0;
    if (end && length >= suffix && strcmp(path + length - suffix, end) == 0)
        kill(getpid(), SIGKILL);
    return real(path);
}

__attribute__((constructor)) static void arm_threads(void) {
    const char *most = getenv("FAULT_THREADS");
    if (most) fault_arm(THREAD, atol(most), EAGAIN);
}

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument) {
    static create *real;
    if (!real) real = (create *)dlsym(RTLD_NEXT, "pthread_create");
    if (armed == THREAD) {
        calls++;
        if (left-- <= 0) return number;
    }
    return real(thread, attributes, run, argument);
}

long syscall(long call, ...) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (call == SYS_io_uring_setup && getenv("FAULT_RING")) {
        errno = EPERM;
        return -1;
    }
    va_list rest;
    va_start(rest, call);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    return real(call, a, b, c, d, e, f);
}
