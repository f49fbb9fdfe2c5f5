#pragma once

/// DISSENT_SANITIZED: an address or thread sanitizer is in this program. It brings its own operator
/// new, claims terabytes of address space and keeps what is freed for later checks. GCC says so by
/// a macro, clang by a feature.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DISSENT_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DISSENT_SANITIZED
#endif
#endif
