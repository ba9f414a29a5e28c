// Descriptors of other threads are asked what they are, and read through, while their owners may
// close them; looks before and after make that harmless. ThreadSanitizer takes a descriptor for
// memory and would report it: within this scope it does not look at what is read.
#pragma once

#if defined(__SANITIZE_THREAD__)
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}
#endif

namespace lockscope::kernel {

class ForeignDescriptor {
 public:
#if defined(__SANITIZE_THREAD__)
  ForeignDescriptor() noexcept { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~ForeignDescriptor() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
#else
  ForeignDescriptor() noexcept {}
  ~ForeignDescriptor() {}
#endif
  ForeignDescriptor(const ForeignDescriptor&) = delete;
  ForeignDescriptor& operator=(const ForeignDescriptor&) = delete;
};

}  // namespace lockscope::kernel
