//! One binary for all targets: `FUZZ_TARGET` names the one that libFuzzer feeds.
//!
//! libFuzzer brings `main` and calls the two functions below; `run.sh` links it. This is the only unsafe code of the
//! project, and no part of a node.
#![no_main]

use std::ffi::c_int;
use std::sync::OnceLock;

use quorapay_node::fuzzing::TARGETS;

static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

/// Called once before anything else.
#[unsafe(no_mangle)]
extern "C" fn LLVMFuzzerInitialize(_argc: *const c_int, _argv: *const *const *const u8) -> c_int {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET={name:?} is none of {}", names.join(" "));
        std::process::exit(2);
    };
    CHECK.set(target.check).expect("libFuzzer starts once");
    // A panic is a finding: libFuzzer keeps the bytes of a process that aborts.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    0
}

/// Called with every input.
#[unsafe(no_mangle)]
extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> c_int {
    // SAFETY: libFuzzer hands over `size` readable bytes that nobody changes during the call; without any, `data` may be
    // null and is not looked at.
    let bytes = if size == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, size) } };
    CHECK.get().expect("libFuzzer starts before it feeds")(bytes);
    0
}
