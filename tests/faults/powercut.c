/* Journals what a process does to the files of a store, in order: the power can be cut later, at any place in it.
 *
 * Loaded with LD_PRELOAD. POWERCUT_PREFIX names the files (every path that begins with it), POWERCUT_JOURNAL the journal, which is
 * appended to. A record is a header of six numbers of 64 bits and its bytes:
 *   kind, file, offset, length (of the bytes that follow), microseconds since 1970 (when the call returned), 0
 * kind: 1 write, 2 truncate (offset is the size), 3 sync, 4 remove (the bytes are the path), 6 open (the bytes are the path).
 * `file` is a number for each path. A call is journaled after it was made and before it returns, under one lock, so the order in the
 * journal is one in which the calls can have happened. The journal itself is only written, never synced: it is read after the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
#define PATHS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static const char *prefix;
static size_t prefix_length;
/* By descriptor: the number of its path plus one, 0 for files that are not of the store. */
static int64_t numbers[FILES];
static char *paths[PATHS];

static int (*real_open64)(const char *, int, ...);
static int (*real_open)(const char *, int, ...);
static int (*real_openat64)(int, const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_ftruncate64)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

static void *find(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void start(void) {
    real_open64 = find("open64");
    real_open = find("open");
    real_openat64 = find("openat64");
    real_openat = find("openat");
    real_close = find("close");
    real_write = find("write");
    real_pwrite = find("pwrite");
    real_pwrite64 = find("pwrite64");
    real_ftruncate = find("ftruncate");
    real_ftruncate64 = find("ftruncate64");
    real_fsync = find("fsync");
    real_fdatasync = find("fdatasync");
    real_unlink = find("unlink");
    prefix = getenv("POWERCUT_PREFIX");
    prefix_length = prefix ? strlen(prefix) : 0;
    const char *path = getenv("POWERCUT_JOURNAL");
    if (prefix && path) journal = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void all(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = real_write(journal, at, length);
        if (done <= 0) abort();
        at += done;
        length -= (size_t)done;
    }
}

/* Under the lock. */
static void record(int64_t kind, int64_t file, int64_t offset, const void *bytes, size_t length) {
    struct timeval now;
    gettimeofday(&now, NULL);
    int64_t header[6] = {kind, file, offset, (int64_t)length, (int64_t)now.tv_sec * 1000000 + now.tv_usec, 0};
    all(header, sizeof header);
    all(bytes, length);
}

static int64_t number_of(const char *path) {
    for (int64_t number = 0; number < PATHS; number++) {
        if (!paths[number]) paths[number] = strdup(path);
        if (strcmp(paths[number], path) == 0) return number;
    }
    abort();
}

static int is_ours(const char *path) {
    if (journal < 0 || !path || strncmp(path, prefix, prefix_length) != 0) return 0;
    /* Shared memory is gone with the power; the lock file is empty. */
    const char *end = strrchr(path, '-');
    if (end && strcmp(end, "-shm") == 0) return 0;
    return !strstr(path, ".lock");
}

static int opened(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= FILES) return fd;
    pthread_mutex_lock(&lock);
    numbers[fd] = 0;
    if (is_ours(path)) {
        int64_t number = number_of(path);
        numbers[fd] = number + 1;
        record(6, number, 0, path, strlen(path));
        if (flags & O_TRUNC) record(2, number, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags)                                \
    mode_t mode = 0;                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {         \
        va_list rest;                              \
        va_start(rest, flags);                     \
        mode = va_arg(rest, mode_t);               \
        va_end(rest);                              \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_open(path, flags, mode), path, flags);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_open64(path, flags, mode), path, flags);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_openat(folder, path, flags, mode), path, flags);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_openat64(folder, path, flags, mode), path, flags);
}

int close(int fd) {
    if (fd >= 0 && fd < FILES) {
        pthread_mutex_lock(&lock);
        numbers[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

static int ours(int fd) { return journal >= 0 && fd >= 0 && fd < FILES && numbers[fd] > 0; }

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!ours(fd)) return real_write(fd, bytes, length);
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real_write(fd, bytes, length);
    if (done > 0) record(1, numbers[fd] - 1, at, bytes, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    if (!ours(fd)) return real_pwrite64(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    ssize_t done = real_pwrite64(fd, bytes, length, at);
    if (done > 0) record(1, numbers[fd] - 1, at, bytes, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

int ftruncate64(int fd, off64_t size) {
    if (!ours(fd)) return real_ftruncate64(fd, size);
    pthread_mutex_lock(&lock);
    int done = real_ftruncate64(fd, size);
    if (done == 0) record(2, numbers[fd] - 1, size, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* A sync covers what was written before it began; what others write meanwhile may or may not be covered. The lock is not held over
 * it: the record says where it began, so that nothing is taken for synced that was not. */
static int synced(int fd, int (*sync)(int)) {
    if (!ours(fd)) return sync(fd);
    pthread_mutex_lock(&lock);
    off_t begun = lseek(journal, 0, SEEK_END);
    pthread_mutex_unlock(&lock);
    int done = sync(fd);
    pthread_mutex_lock(&lock);
    if (done == 0) record(3, numbers[fd] - 1, begun, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int unlink(const char *path) {
    int done = real_unlink(path);
    if (done == 0 && is_ours(path)) {
        pthread_mutex_lock(&lock);
        record(4, number_of(path), 0, path, strlen(path));
        pthread_mutex_unlock(&lock);
    }
    return done;
}
