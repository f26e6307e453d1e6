//! What outside the library names a VM to the hardware.

use alloc::vec::Vec;
use core::fmt;

use gicv5_arch::VmId;
use gicv5_hal::Lock;

use crate::Hypervisor;
use crate::host::host::Host;
use crate::vm::handle::Vm;
use gicv5_irs::heap::reserve;

/// Something outside the library that names a VM to the hardware could not be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The VM is not live.
    #[error("the VM is not live")]
    NotLive,
    /// There is no memory for the note.
    #[error("no memory for the library's records")]
    NoMemory,
}

/// Something outside the library names a VM to the hardware. See [`Vm::refer`].
#[must_use = "dropping it says that the hardware does not name the VM any more"]
pub struct VmReference<'h, H: Hypervisor> {
    host: &'h Host<H>,
    vm: VmId,
}

impl<H: Hypervisor> VmReference<'_, H> {
    /// The ID that the hardware names the VM by.
    #[must_use]
    pub const fn vm(&self) -> VmId {
        self.vm
    }
}

impl<H: Hypervisor> fmt::Debug for VmReference<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VmReference").field(&self.vm).finish()
    }
}

impl<H: Hypervisor> Drop for VmReference<'_, H> {
    fn drop(&mut self) {
        self.host.books.with(|books| {
            if let Some(n) = books.references.iter().position(|vm| *vm == self.vm) {
                books.references.swap_remove(n);
            }
        });
    }
}

impl<'h, H: Hypervisor> Vm<'h, H> {
    /// Notes that something outside the library is about to name the VM to the hardware: a physical SPI that is assigned to it
    /// (SPI-9), later an ITS entry. The VM cannot be torn down, nor its ID be given to another, until the note is dropped,
    /// after the hardware has been told otherwise.
    ///
    /// Never waits; allocates, and takes a lock.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`] if the VM is not live, and if there is no memory.
    pub fn refer(&self) -> Result<VmReference<'h, H>, ReferenceError> {
        let vm = self.live_record().ok_or(ReferenceError::NotLive)?.vm();
        let host = self.host;
        // Memory is allocated without the lock, and the old memory goes back without it.
        let mut room = Vec::new();
        loop {
            let noted = host.books.with(|books| {
                let references = &mut books.references;
                // Looked at as `append` looks at it, which then is compiled without a growth.
                let fits = references.len() <= room.capacity().wrapping_sub(room.len());
                if references.len() == references.capacity() && references.len() < room.capacity() && fits {
                    room.append(references);
                    core::mem::swap(references, &mut room);
                }
                match references.len() < references.capacity() {
                    true => {
                        references.push(vm);
                        Ok(())
                    }
                    false => Err(references.len()),
                }
            });
            match noted {
                Ok(()) => return Ok(VmReference { host, vm }),
                Err(full) => {
                    room = Vec::new();
                    reserve(&host.machine.domain.heap(), &mut room, 2 * full + 8)
                        .map_err(|_| ReferenceError::NoMemory)?;
                }
            }
        }
    }
}
