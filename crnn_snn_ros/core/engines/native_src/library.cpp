// The library's entry points: which instruction sets were built, which this CPU has, and run.

#include "program.h"
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace native {
void run_portable(const Program&, const Call&);
bool always() { return true; }

#ifdef NATIVE_HAS_AVX2
void run_avx2(const Program&, const Call&);
bool has_avx2() { return __builtin_cpu_supports("avx2"); }
#endif

#ifdef NATIVE_HAS_AVXVNNI
void run_avxvnni(const Program&, const Call&);
bool has_avxvnni() {  // older compilers know the instruction, but not to ask for it
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           (a >> 4 & 1);
}
#endif

#ifdef NATIVE_HAS_AVX512VNNI
void run_avx512vnni(const Program&, const Call&);
bool has_avx512vnni() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

#ifdef NATIVE_HAS_NEONDOT
void run_neondot(const Program&, const Call&);
bool has_neondot() {
#if defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
    return false;  // nobody has asked another system yet
#endif
}
#endif

struct Path {
    const char* name;
    bool (*supported)();
    Run run;
};

const Path PATHS[] = {  // fastest first
#ifdef NATIVE_HAS_AVX512VNNI
    {"avx512vnni", has_avx512vnni, run_avx512vnni},
#endif
#ifdef NATIVE_HAS_AVXVNNI
    {"avxvnni", has_avxvnni, run_avxvnni},
#endif
#ifdef NATIVE_HAS_AVX2
    {"avx2", has_avx2, run_avx2},
#endif
#ifdef NATIVE_HAS_NEONDOT
    {"neondot", has_neondot, run_neondot},
#endif
    {"portable", always, run_portable},
};
constexpr int PATH_COUNT = sizeof PATHS / sizeof *PATHS;

}  // namespace native

#define NATIVE_EXPORT extern "C" __attribute__((visibility("default")))

// Name of the path `number`, if there is one and this CPU can run it; else null, or "" for "go on".
NATIVE_EXPORT const char* native_path(int number) {
    if (number >= native::PATH_COUNT) return nullptr;
    const native::Path& path = native::PATHS[number];
    return path.supported() ? path.name : "";
}

// Sizes of the structures, which the Python side must agree with.
NATIVE_EXPORT void native_layout(int64_t sizes[6]) {
    sizes[0] = sizeof(native::Synapse), sizes[1] = sizeof(native::Node);
    sizes[2] = sizeof(native::Carry), sizes[3] = sizeof(native::Part);
    sizes[4] = sizeof(native::Program), sizes[5] = sizeof(native::Call);
}

NATIVE_EXPORT void native_run(int path, const native::Program* program, const native::Call* call) {
    native::PATHS[path].run(*program, *call);
}
