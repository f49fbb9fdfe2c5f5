#pragma once

/// DISSENT_SANITIZED: defined in builds with an address or thread sanitizer. These have their own
/// operator new, reserve terabytes of address space and keep freed memory. GCC defines a macro,
/// clang a feature.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DISSENT_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DISSENT_SANITIZED
#endif
#endif
