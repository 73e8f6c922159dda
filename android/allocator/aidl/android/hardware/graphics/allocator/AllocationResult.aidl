package android.hardware.graphics.allocator;

import android.hardware.common.NativeHandle;

@VintfStability
parcelable AllocationResult {
    // In pixels.
    int stride;
    NativeHandle[] buffers;
}
