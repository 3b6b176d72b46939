/* A disk that fails once, where it is told to: preloaded into the server under test, it counts the calls that write or
 * sync files below one folder and lets the n-th of a kind fail. The file named by FAILING_DISK is shared with the test,
 * which sets the first four fields and reads the rest. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING = 0, WRITES = 1, TORN_WRITES = 2, SYNCS = 3 };

struct control {
    uint64_t armed;  /* one of the above */
    uint64_t at;     /* the call that fails, from 1 */
    uint64_t error;  /* errno */
    uint64_t spare;
    uint64_t count;  /* calls of the kind so far */
    uint64_t fired;  /* whether it has failed */
    char what[208];  /* which call, on which file */
};

static struct control *control;
static char folder[PATH_MAX];

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("FAILING_DISK"), *below = getenv("FAILING_DISK_FOLDER");
    if (!path || !below) return;
    snprintf(folder, sizeof folder, "%s/", below);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) control = page;
    close(file);
}

/* Whether this call is the one: decided once for the whole process. */
static int fails(uint64_t kind, const char *call, int file) {
    char link[64], path[PATH_MAX];
    if (!control) return 0;
    uint64_t armed = __atomic_load_n(&control->armed, __ATOMIC_SEQ_CST);
    if (armed != kind && !(armed == TORN_WRITES && kind == WRITES)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0) return 0;
    if (__atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST) != control->at) return 0;
    snprintf(control->what, sizeof control->what, "%s %.180s", call, path + strlen(folder));
    __atomic_store_n(&control->fired, 1, __ATOMIC_SEQ_CST);
    return 1;
}

#define REAL(name) static __typeof__(name) *real; if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

/* The half that came to the disk before it failed; in the middle of a file a disk writes sectors whole or not at all. */
static size_t half(size_t length) { return control->armed == TORN_WRITES ? length / 2 : 0; }
static size_t sectors(size_t length) { return half(length) / 512 * 512; }

static ssize_t failed(void) {
    errno = (int)control->error;
    return -1;
}

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(write);
    if (!fails(WRITES, "write", file)) return real(file, bytes, length);
    if (half(length)) (void)!real(file, bytes, half(length));
    return failed();
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    return fails(WRITES, "writev", file) ? failed() : real(file, parts, count);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    REAL(pwrite);
    if (!fails(WRITES, "pwrite", file)) return real(file, bytes, length, at);
    if (sectors(length)) (void)!real(file, bytes, sectors(length), at);
    return failed();
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    REAL(pwrite64);
    if (!fails(WRITES, "pwrite", file)) return real(file, bytes, length, at);
    if (sectors(length)) (void)!real(file, bytes, sectors(length), at);
    return failed();
}

int ftruncate(int file, off_t length) {
    REAL(ftruncate);
    return fails(WRITES, "ftruncate", file) ? (int)failed() : real(file, length);
}

int ftruncate64(int file, off64_t length) {
    REAL(ftruncate64);
    return fails(WRITES, "ftruncate", file) ? (int)failed() : real(file, length);
}

int fsync(int file) {
    REAL(fsync);
    return fails(SYNCS, "fsync", file) ? (int)failed() : real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    return fails(SYNCS, "fdatasync", file) ? (int)failed() : real(file);
}
