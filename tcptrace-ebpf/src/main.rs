//! The kernel programs: the hooks over one path. See `programs` for the hooks, `attempts` for the path, `maps` for the
//! data that they keep; `sockets` and `dropped` for the host's facts beside its packets.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "core::sync::atomic has no compare_exchange on BPF")
)]

#[cfg(target_arch = "bpf")]
mod attempts;
#[cfg(target_arch = "bpf")]
mod dropped;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod sockets;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
