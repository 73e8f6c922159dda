package android.hardware.graphics.allocator;

import android.hardware.graphics.common.ExtendableType;

// Format and usage are enums in Android's own text, backed by these types; their values are in the table of the crate for handles.
@VintfStability
parcelable BufferDescriptorInfo {
    byte[128] name;
    int width;
    int height;
    int layerCount;
    int format;
    long usage;
    // In bytes.
    long reservedSize;
    ExtendableType[] additionalOptions;
}
