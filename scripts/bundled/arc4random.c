/* The random bytes of glibc 2.36, which Debian 12's libevent asks for, on an older C library: scripts/bundle puts this in its place, with libevent behind
   it. Where the C library has them, libevent still takes these; they are the kernel's. */
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
