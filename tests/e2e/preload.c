// Another machine for a program under test, by LD_PRELOAD: file systems that have $FREE_BYTES free,
// and a steady clock that is $CLOCK_AHEAD seconds ahead from the moment on that the file
// $CLOCK_JUMPS is there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

int statvfs(const char *path, struct statvfs *out) {
  static int (*real)(const char *, struct statvfs *);
  const char *left = getenv("FREE_BYTES");
  if (!real)
    real = (int (*)(const char *, struct statvfs *))dlsym(RTLD_NEXT, "statvfs");
  const int code = real(path, out);
  if (code == 0 && left)
    out->f_bavail = strtoull(left, NULL, 10) / out->f_frsize;
  return code;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
  static int (*real)(clockid_t, struct timespec *);
  const char *file = getenv("CLOCK_JUMPS"), *ahead = getenv("CLOCK_AHEAD");
  if (!real)
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  const int code = real(clock, out);
  if (code == 0 && clock == CLOCK_MONOTONIC && file && ahead && access(file, F_OK) == 0)
    out->tv_sec += atol(ahead);
  return code;
}
