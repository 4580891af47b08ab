"""The CUDA driver API by ctypes: what the scripts here need of it. `Driver(library)` takes the first device."""
import ctypes
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p


class Driver:
    def __init__(self, library="libcuda.so.1"):
        self.lib = ctypes.CDLL(library)
        self.call("cuInit", c_uint(0))
        device, context = c_int(), c_void_p()
        self.call("cuDeviceGet", byref(device), c_int(0))
        self.call("cuDevicePrimaryCtxRetain", byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.device = device

    def call(self, name, *arguments):
        status = getattr(self.lib, name)(*arguments)
        if status:
            text = c_char_p()
            self.lib.cuGetErrorName(c_int(status), byref(text))
            raise RuntimeError(f"{name}: {(text.value or b'?').decode()}")

    def name(self):
        text = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", text, c_int(256), self.device)
        return text.value.decode()

    def attribute(self, number):
        value = c_int()
        self.call("cuDeviceGetAttribute", byref(value), c_int(number), self.device)
        return value.value

    def capability(self):
        return self.attribute(75), self.attribute(76)

    def version(self):
        value = c_int()
        self.call("cuDriverGetVersion", byref(value))
        return f"{value.value // 1000}.{value.value % 1000 // 10}"

    def allocate(self, size):
        pointer = c_uint64()
        self.call("cuMemAlloc_v2", byref(pointer), c_size_t(size))
        return pointer

    def free(self, pointer):
        self.call("cuMemFree_v2", pointer)

    def upload(self, data):
        pointer = self.allocate(len(data))
        self.call("cuMemcpyHtoD_v2", pointer, c_char_p(data), c_size_t(len(data)))
        return pointer

    def download(self, pointer, size):
        data = ctypes.create_string_buffer(size)
        self.call("cuMemcpyDtoH_v2", data, pointer, c_size_t(size))
        return data.raw

    def function(self, ptx, name):
        module, function = c_void_p(), c_void_p()
        self.call("cuModuleLoadData", byref(module), c_char_p(ptx.encode()))
        self.call("cuModuleGetFunction", byref(function), module, c_char_p(name.encode()))
        return function

    def launch(self, function, blocks, threads, arguments):
        pointers = (c_void_p * len(arguments))(*[ctypes.addressof(a) for a in arguments])
        self.call("cuLaunchKernel", function, c_uint(blocks), c_uint(1), c_uint(1), c_uint(threads), c_uint(1), c_uint(1), c_uint(0),
                  c_void_p(), pointers, c_void_p())

    def wait(self):
        self.call("cuCtxSynchronize")

    def median_seconds(self, work, warm=3, times=15):
        """`work` enqueues on the default stream; each run between two events."""
        begin, end = c_void_p(), c_void_p()
        self.call("cuEventCreate", byref(begin), c_uint(0))
        self.call("cuEventCreate", byref(end), c_uint(0))
        seen = []
        for run in range(warm + times):
            self.call("cuEventRecord", begin, c_void_p())
            work()
            self.call("cuEventRecord", end, c_void_p())
            self.call("cuEventSynchronize", end)
            milliseconds = c_float()
            self.call("cuEventElapsedTime", byref(milliseconds), begin, end)
            if run >= warm:
                seen.append(milliseconds.value / 1e3)
        return sorted(seen)[len(seen) // 2]
