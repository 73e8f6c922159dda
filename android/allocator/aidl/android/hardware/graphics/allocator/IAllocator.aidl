package android.hardware.graphics.allocator;

import android.hardware.graphics.allocator.AllocationResult;
import android.hardware.graphics.allocator.BufferDescriptorInfo;

// Version 2. The order of the methods is their number, so nothing may be put between them.
@VintfStability
interface IAllocator {
    AllocationResult allocate(in byte[] descriptor, in int count);
    AllocationResult allocate2(in BufferDescriptorInfo descriptor, in int count);
    boolean isSupported(in BufferDescriptorInfo descriptor);
    String getIMapperLibrarySuffix();
}
