package android.hardware.graphics.common;

@VintfStability
parcelable ExtendableType {
    @utf8InCpp String name;
    long value = 0;
}
