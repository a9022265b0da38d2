/* A library with the part of NVML's interface that ftkit uses, and two GPUs.

   FTKIT_TEST_NVML_ERROR is an error number that nvmlInit returns. FTKIT_TEST_NVML_PID names a file
   with the id of a process that has 2 GiB on the first GPU. The second GPU has only a name and a memory. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

typedef struct { int number; } Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } Process;

static Device devices[2] = {{0}, {1}};
static const unsigned long long GIB = 1ull << 30;

int nvmlInitWithFlags(unsigned int flags) {
    const char *error = getenv("FTKIT_TEST_NVML_ERROR");
    return error ? atoi(error) : SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = 2;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Device **device) {
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetName(Device *device, char *name, unsigned int length) {
    snprintf(name, length, "NVIDIA H200");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    memory->total = 140 * GIB;
    memory->used = (device->number ? 0 : 35) * GIB;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *rates) {
    if (device->number) return NOT_SUPPORTED;
    rates->gpu = 87;
    rates->memory = 40;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned int *celsius) {
    if (device->number) return NOT_SUPPORTED;
    *celsius = 61;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned int *count, Process *processes) {
    const char *path = getenv("FTKIT_TEST_NVML_PID");
    FILE *file = path ? fopen(path, "r") : NULL;
    unsigned int pid = 0;
    if (file && fscanf(file, "%u", &pid) != 1) pid = 0;
    if (file) fclose(file);
    if (device->number) return NOT_SUPPORTED;
    if (!pid) {
        *count = 0;
        return SUCCESS;
    }
    if (*count < 1) {
        *count = 1;
        return INSUFFICIENT_SIZE;
    }
    *count = 1;
    processes[0].pid = pid;
    processes[0].used = 2 * GIB;
    return SUCCESS;
}
