// Preloaded: the CUDA runtime says that there is a GPU, and takes it for this thread's. What is
// then asked of the device fails, as there is none; a program that wants it has come so far.
extern "C" {
int cudaGetDeviceCount(int* count) {
  *count = 1;
  return 0;
}
int cudaGetDevice(int* device) {
  *device = 0;
  return 0;
}
int cudaSetDevice(int) { return 0; }
}
