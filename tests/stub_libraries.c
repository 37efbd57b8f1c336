/* Stubs of libcuda and libnvidia-ml for tests (tests/gpus.py): what they answer stands in files of
 * the folder STATE, each with one word.
 *
 *   cuda, nvml   the result of every call: a number, `hang` or `crash`
 *   memory       used and total bytes of each GPU
 *   xids         Xid errors; a process sees those that are added after it has registered
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int result(const char *name) {
    char path[4096], word[64] = "0";
    snprintf(path, sizeof path, "%s/%s", STATE, name);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%63s", word) != 1) strcpy(word, "0");
        fclose(file);
    }
    if (!strcmp(word, "hang")) for (;;) pause();
    if (!strcmp(word, "crash")) abort();
    return atoi(word);
}

int cuInit(unsigned flags) { (void)flags; return result("cuda"); }

int cuDeviceGetCount(int *count) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *count = visible && *visible ? 1 : 0;
    for (; visible && *visible; visible++) *count += *visible == ',';
    return result("cuda");
}

struct memory { unsigned long long total, free, used; };
struct use { unsigned gpu, memory; };
struct event { void *device; unsigned long long type, data; unsigned gpu, compute; };

static long seen = -1;

int nvmlInit_v2(void) { return result("nvml"); }
const char *nvmlErrorString(int code) { (void)code; return "a stub's error"; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    *device = (void *)uuid;
    return result("nvml");
}
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory) {
    (void)device;
    FILE *file = fopen(STATE "/memory", "r");
    memory->used = 0;
    memory->total = 80ULL << 30;
    if (file) {
        if (fscanf(file, "%llu %llu", &memory->used, &memory->total) < 1) memory->used = 0;
        fclose(file);
    }
    memory->free = memory->total - memory->used;
    return result("nvml");
}
int nvmlDeviceGetUtilizationRates(void *device, struct use *use) {
    (void)device;
    use->gpu = 37;
    use->memory = 5;
    return result("nvml");
}
static FILE *open_xids(void) { return fopen(STATE "/xids", "r"); }
int nvmlEventSetCreate(void **events) { *events = &seen; return 0; }
int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *events) {
    (void)device; (void)types; (void)events;
    FILE *file = open_xids();
    seen = 0;
    if (file) { fseek(file, 0, SEEK_END); seen = ftell(file); fclose(file); }
    return 0;
}
int nvmlEventSetWait_v2(void *events, struct event *event, unsigned wait_ms) {
    (void)events; (void)wait_ms;
    FILE *file = open_xids();
    int found = 0;
    if (file) {
        fseek(file, seen, SEEK_SET);
        found = fscanf(file, "%llu\n", &event->data) == 1;
        if (found) seen = ftell(file);
        fclose(file);
    }
    event->type = 8;
    return found ? 0 : 10;
}
