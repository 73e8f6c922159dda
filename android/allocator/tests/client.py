"""A client of the allocator service on libgbinder, which shares no code with the service's binder, written from the wire format:
run in a guest beside the service. Prints what it got, and fails where that is not what AIDL says."""

import os
import struct
import sys

import gbinder

SERVICE = "android.hardware.graphics.allocator.IAllocator/default"
INTERFACE = "android.hardware.graphics.allocator.IAllocator"
ALLOCATE, ALLOCATE2, IS_SUPPORTED, SUFFIX = 1, 2, 3, 4
VERSION, HASH = 16777215, 16777214
SERVICE_SPECIFIC = -8
CPU_OFTEN = 0x33
WIDTH, HEIGHT = 300, 200


def check(holds, what):
    print(("ok: " if holds else "FAILED: ") + what)
    if not holds:
        sys.exit(1)


class Allocator:
    def __init__(self):
        manager = gbinder.ServiceManager("/dev/binder")
        remote, status = manager.get_service_sync(SERVICE)
        check(status == 0 and remote is not None, "the service manager knows the service")
        self.client = gbinder.Client(remote, INTERFACE)

    def call(self, method, arguments=b""):
        """The answer's exception, and a reader behind it."""
        request = self.client.new_request()
        writer = request.init_writer()
        for (word,) in struct.iter_unpack("<i", arguments):
            writer.append_int32(word)
        reply, status = self.client.transact_sync_reply(method, request)
        check(status == 0, f"method {method} is answered")
        reader = reply.init_reader()
        return reader.read_int32()[1], reader, reply


def descriptor(usage=CPU_OFTEN, layers=1, options=()):
    """BufferDescriptorInfo as an argument: it is there, its size with itself, and the fields."""
    name = b"by libgbinder".ljust(128, b"\0")
    fields = struct.pack("<i128siiiiqq", len(name), name, WIDTH, HEIGHT, layers, 1, usage, 0)
    fields += struct.pack("<i", len(options))
    for option, value in options:
        characters = option.encode("utf-16-le") + b"\0\0"
        text = struct.pack("<i", len(option)) + characters + bytes(-len(characters) % 4)
        fields += struct.pack("<ii", 1, 4 + len(text) + 8) + text + struct.pack("<q", value)
    return struct.pack("<ii", 1, 4 + len(fields)) + fields


def integer(reader):
    there, value = reader.read_int32()
    if not there:
        check(False, "an integer is there")
    return value


def expect(reader, value, what):
    if integer(reader) != value:
        check(False, what)


def read_result(reader):
    """AllocationResult: the stride, and the descriptors and integers of each handle."""
    expect(reader, 1, "there is a result")
    integer(reader)  # Its size.
    stride, handles = integer(reader), []
    for _ in range(integer(reader)):
        expect(reader, 1, "there is a handle")
        integer(reader)  # Its size.
        fds = []
        for _ in range(integer(reader)):
            expect(reader, 1, "there is a descriptor")
            expect(reader, 0, "it has no other one for its state")
            fds.append(reader.read_dup_fd())
        handles.append((fds, [integer(reader) for _ in range(integer(reader))]))
    return stride, handles


def main():
    allocator = Allocator()
    exception, reader, _reply = allocator.call(VERSION)
    check((exception, integer(reader)) == (0, 2), "it is of version 2")
    exception, reader, _reply = allocator.call(HASH)
    check((exception, reader.read_string16()) == (0, "9499fec09c544e9de5be3c87125721600f8ade66"), "it has that version's hash")
    exception, reader, _reply = allocator.call(SUFFIX)
    check((exception, reader.read_string16()) == (0, "virgbm"), "its mapper is virgbm's")

    exception, reader, _reply = allocator.call(IS_SUPPORTED, descriptor())
    check((exception, integer(reader)) == (0, 1), "RGBA for the CPU is supported")
    exception, reader, _reply = allocator.call(IS_SUPPORTED, descriptor(usage=CPU_OFTEN | 1 << 33))
    check((exception, integer(reader)) == (0, 0), "a usage that nobody knows is not")

    exception, reader, _reply = allocator.call(ALLOCATE2, descriptor() + struct.pack("<i", 2))
    check(exception == 0, "two buffers are made")
    stride, handles = read_result(reader)
    check(stride >= WIDTH and len(handles) == 2, f"two, of {stride} pixels a row")
    for fds, ints in handles:
        check(len(fds) == 2 and len(ints) == 34, "a handle of 2 descriptors and 34 integers")
        size = os.lseek(fds[0], 0, os.SEEK_END)
        check(size >= stride * HEIGHT * 4, f"its buffer has {size} bytes")
        check(os.readlink(f"/proc/self/fd/{fds[0]}") == "/dmabuf:", "and is a dma-buf")

    for asked, code, what in [
        (descriptor(layers=0), 0, "no layers are a bad descriptor"),
        (descriptor(usage=CPU_OFTEN | 1 << 33), 2, "a usage that nobody knows is unsupported"),
        (descriptor(options=[("android.hardware.graphics.common.NotARealOption", 1)]), 2, "so is such an option"),
    ]:
        exception, reader, _reply = allocator.call(ALLOCATE2, asked + struct.pack("<i", 1))
        message = reader.read_string16()
        integer(reader)  # The size of a stack trace, which there is none of.
        check((exception, integer(reader)) == (SERVICE_SPECIFIC, code), f"{what}: {message}")


main()
