//! Gives the library the name by which Mesa's libgbm looks for it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,virtio_gpu_gbm.so");
}
