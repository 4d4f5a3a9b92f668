/* Operations on files, and threads, that fail when they are told to: preloaded, so that the calls of a real run meet them.
 *
 * fault_arm(which, after, error): of the calls of that kind, the one that comes after `after` others fails with `error`, once; with
 * error 0, every one reads or writes less than it was asked for. Of threads all fail that are started after `after` others. fault_disarm()
 * says how many calls there were. Counts are of the whole process: arm around the call that is tested. Where the environment has
 * FAULT_THREADS, no more than so many threads are ever started; where it has FAULT_RING, there is no io_uring; and where it has
 * FAULT_UNLINK, the process is killed when it is about to remove a file whose name ends so. */
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
    if (end && strlen(path) >= strlen(end) && strcmp(path + strlen(path) - strlen(end), end) == 0) kill(getpid(), SIGKILL);
    return real(path);
}

__attribute__((constructor)) static void arm_threads(void) {
    const char *most = getenv("FAULT_THREADS");
    if (most) fault_arm(THREAD, atol(most), EAGAIN);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
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
