//! The service `android.hardware.graphics.allocator-service.virgbm`.

use rsbinder::{Interface, ProcessState, hub};
use std::error::Error;
use std::process::ExitCode;
use virgbm_android_allocator::aidl::BnAllocator;
use virgbm_android_allocator::{INSTANCE, Service};
use virgbm_android_handle::{Allocator, logging};

fn main() -> ExitCode {
    logging::start();
    #[cfg(not(target_os = "android"))]
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until binder goes away.
fn serve() -> Result<(), Box<dyn Error>> {
    let allocator = Allocator::open()?;
    ProcessState::init_default()?;
    ProcessState::start_thread_pool();
    let service = BnAllocator::new_binder(Service::new(allocator));
    hub::add_service(INSTANCE, service.as_binder())?;
    log::info!("{INSTANCE} is there");
    Ok(ProcessState::join_thread_pool()?)
}
