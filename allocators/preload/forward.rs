//! Functions with the C library's names, each one jump to an allocator's function.

/// Exports functions, each one jump to the allocator's function of the same signature: arguments and result
/// stay in their registers. The allocator's are declared without their arguments.
macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident => $target:ident,)*) => {$(const _: () = {
        unsafe extern "C" {
            fn $target();
        }
        $(#[$doc])*
        ///
        /// # Safety
        /// As in the function's own documentation. It is declared without its arguments.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("jmp {target}", target = sym $target);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("b {target}", target = sym $target);
        }
    };)*};
}
