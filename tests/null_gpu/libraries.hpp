#pragma once
#include "null_gpu.hpp"

extern "C" {
/// A handle or descriptor of a library, filled with 0.
int null_gpu_create(void** handle);
/// A call of a library that would launch a kernel on the stream of its handle.
int null_gpu_launch(void* handle, const char* call);
}
