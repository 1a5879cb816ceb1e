// Runs frames that test_native_arm.py has written down, with every path that this CPU has.
//
// A file is a list of blocks of memory and of the pointers in them, by number; so that a program
// packed on one machine runs on another, or in an emulator, where there is no Python.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

extern "C" const char* native_path(int number);
extern "C" void native_run(int path, const void* program, const void* call);

static int64_t number(FILE* file) {
    int64_t value = 0;
    if (fread(&value, sizeof value, 1, file) != 1) return -1;
    return value;
}

// Blocks as they were written, with their pointers mended.
static std::vector<std::vector<int64_t>> load(FILE* file) {
    std::vector<std::vector<int64_t>> blocks(number(file));
    for (auto& block : blocks) {
        const int64_t bytes = number(file);
        block.resize(bytes / 8 + 2);
        if (bytes && fread(block.data(), bytes, 1, file) != 1) std::perror("block");
    }
    for (int64_t left = number(file); left > 0; --left) {
        const int64_t block = number(file), at = number(file);
        const int64_t target = number(file), offset = number(file);
        char* pointer = reinterpret_cast<char*>(blocks[target].data()) + offset;
        std::memcpy(reinterpret_cast<char*>(blocks[block].data()) + at, &pointer, sizeof pointer);
    }
    return blocks;
}

int main(int argc, char** argv) {
    FILE* file = argc == 2 ? std::fopen(argv[1], "rb") : nullptr;
    if (!file) return 2;
    for (int64_t frames = number(file); frames > 0; --frames) {
        const long start = std::ftell(file);
        for (int path = 0; native_path(path); ++path) {
            if (!*native_path(path)) continue;
            std::fseek(file, start, SEEK_SET);
            auto blocks = load(file);
            const int64_t program = number(file), call = number(file), outputs = number(file);
            native_run(path, blocks[program].data(), blocks[call].data());
            for (int64_t i = 0; i < outputs; ++i) {
                const int64_t block = number(file), bytes = number(file);
                std::vector<char> want(bytes);
                if (fread(want.data(), bytes, 1, file) != 1) return 2;
                const bool equal = !std::memcmp(want.data(), blocks[block].data(), bytes);
                std::printf("%s %s\n", native_path(path), equal ? "equal" : "DIFFERENT");
            }
        }
    }
    return 0;
}
