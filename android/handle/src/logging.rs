//! Where what is logged goes.

/// Sends it to Android's log under the tag `virgbm`; once, however often it is called. Elsewhere the program has its own log.
pub fn start() {
    #[cfg(target_os = "android")]
    android_logger::init_once(android_logger::Config::default().with_tag("virgbm").with_max_level(log::LevelFilter::Info));
}
