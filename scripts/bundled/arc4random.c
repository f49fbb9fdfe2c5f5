/* Provides the random number functions of glibc 2.36, which Debian 12's libevent needs, on an older C library: scripts/bundle puts this library in place of
   libevent, and links it to libevent. If the C library has these functions, libevent still uses these ones; the random bytes come from the kernel. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

void arc4random_buf(void* buffer, size_t bytes) {
  unsigned char* at = buffer;
  while (bytes > 0) {
    const size_t piece = bytes < 256 ? bytes : 256;
    if (getentropy(at, piece) != 0) abort();
    at += piece;
    bytes -= piece;
  }
}

uint32_t arc4random(void) {
  uint32_t value;
  arc4random_buf(&value, sizeof value);
  return value;
}
