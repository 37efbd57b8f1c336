/* A wall clock that can be set for one process: loaded before the C library, it adds to the time
 * of day the microseconds that stand as text in the file that FAULTS_CLOCK names.  The monotonic
 * clock stays as it is, as it does when an operator or NTP sets a machine's clock. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset_us;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("FAULTS_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offset_us = page;
    close(file);
}

static void now(struct timespec *at) {
    syscall(SYS_clock_gettime, CLOCK_REALTIME, at);
    if (!offset_us) return;
    long long ns = at->tv_nsec + (*offset_us % 1000000) * 1000;
    at->tv_sec += *offset_us / 1000000;
    if (ns < 0) { ns += 1000000000; at->tv_sec -= 1; }
    if (ns >= 1000000000) { ns -= 1000000000; at->tv_sec += 1; }
    at->tv_nsec = ns;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return syscall(SYS_clock_gettime, clock, at);
    now(at);
    return 0;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec precise;
    (void)zone;
    now(&precise);
    at->tv_sec = precise.tv_sec;
    at->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec precise;
    now(&precise);
    if (at) *at = precise.tv_sec;
    return precise.tv_sec;
}
